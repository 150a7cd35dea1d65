package openaichat

import "github.com/financecommander/tollgate/internal/dialect/wire"

// AppendText implements [dialect.Call]. Of messages it takes what a model reads
// as text; of tools and schemas, which reach the model as some kind of JSON, the
// bytes as they stand.
func (k *call) AppendText(dst []byte, limit int) []byte {
	t := wire.NewTextCollector(dst, limit)
	t.Messages(k.Value(k.codec.input))
	for _, name := range [...]string{"tools", "functions", "response_format"} {
		t.Raw(k.Value(name))
	}
	return t.Bytes()
}
