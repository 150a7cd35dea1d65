// Package pricing knows what model calls cost: an embedded table of the
// providers' public list prices, and arithmetic that is exact because it is done
// in whole picodollars and never in floats.
//
//	model, ok := pricing.Embedded().Lookup("openai", "gpt-4o")
//	quote := model.Cost(pricing.Tokens{Input: 1000, Output: 500}, pricing.At{Time: now})
//	quote.Cost.String() // "0.0075"
//
// A price that is not known is said to be unknown ([Quote.Priced] is false and
// the cost is 0); it is never guessed.
//
// # File format
//
// The embedded table, prices.json, and an operator's own file ([Load]) share one
// format. A file need only hold the models it adds or changes ([Table.Override]):
//
//	{"as_of": "2026-08-21",
//	 "models": [
//	  {"provider": "openai", "model": "gpt-4o",
//	   "prices": {"input": 2.5, "cached_input": 1.25, "output": 10}}]}
//
// Of a model, only provider, model and prices must be there:
//
//   - prices: USD per million tokens, under the names input, cached_input,
//     cache_write_5m, cache_write_1h, output, reasoning, input_audio,
//     cached_audio, output_audio, input_image, cached_image, output_image,
//     input_video and output_video.
//   - tiers: [{"above_input_tokens": 200000, "prices": {…}}], ascending: these
//     prices hold for the whole request once its input is larger than that.
//   - modes: {"batch": {"prices": {…}, "tiers": […]}}, also flex, priority, fast.
//   - time_of_day: [{"start": "16:30", "end": "00:30", "prices": {…}}], hours of
//     the day in UTC with standard prices of their own; end is not included.
//   - from: [{"date": "2026-09-01", "prices": {…}}], ascending: from that day
//     (UTC) on, these prices replace all others. Each may have tiers, modes and
//     time_of_day of its own; what it leaves out is unknown from then on.
//   - per_call_usd: {"web_search": 0.01}, USD per call of a server-side tool.
//   - regional: {"regions": ["eu"], "multiplier": 1.1}, a factor on the whole
//     cost where the data stays in such a region.
//   - kind, context_window, max_output, modalities, deprecated: facts for lists.
//
// # Prices that are left out
//
// A kind of token without a price of its own costs what the next in this list
// costs: cached_input → input; cache_write_1h → cache_write_5m → input;
// reasoning → output; audio, image and video → the text price of their
// direction (a cached one first what it costs uncached, as no discount is
// known). In a mode this holds only for what the standard prices do not tell
// apart either: a price that the standard list has and the mode has not is
// unknown, and so is a mode's price for inputs of a size where the standard
// list has a tier and the mode has none.
package pricing

//go:generate go run ./internal/gen -in ../../shared/data/prices.json -out prices.json
