package llm

// EmbedRequest asks for embeddings, in no particular dialect.
type EmbedRequest struct {
	Model      string
	Inputs     []string
	Dimensions int64  // 0: the model's own
	Base64     bool   // the client wants vectors as base64 of little-endian float32
	User       string // a hint, as in [Request]
	// Task is Gemini's taskType and Title its title; other formats have none.
	Task, Title string
	// Batch: the client used a format's call for many (Gemini's
	// batchEmbedContents), and is answered in its shape.
	Batch bool
	Extra Extra
}

// EmbedAnswer is the embeddings, one per input in their order.
type EmbedAnswer struct {
	Model    string
	Vectors  [][]float64
	Usage    Usage
	Reported bool
	Extra    Extra
}
