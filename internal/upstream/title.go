package upstream

// titles are what people call providers.
var titles = map[string]string{
	"alibaba": "Alibaba Cloud", "anthropic": "Anthropic", "azure": "Azure OpenAI", "cerebras": "Cerebras", "deepseek": "DeepSeek",
	"gemini": "Google Gemini", "groq": "Groq", "huggingface": "Hugging Face", "lmstudio": "LM Studio", "mistral": "Mistral AI",
	"moonshot": "Moonshot AI", "ollama": "Ollama", "openai": "OpenAI", "openrouter": "OpenRouter", "perplexity": "Perplexity",
	"vertex": "Google Vertex AI", "xai": "xAI", "zai": "Z.ai", DemoName: "Demo",
}

// Title is what people call a provider; one whose name an operator made up is
// called that.
func Title(name string) string {
	if title, ok := titles[name]; ok {
		return title
	}
	return name
}
