// Package fakes plays the model providers in tests: one small deterministic
// model behind the wire formats of OpenAI (chat completions and Responses),
// Anthropic and Google. The formats are written by hand from the providers'
// documentation and recorded traffic and share nothing with the gateway's codecs,
// so that a mistake made twice in a codec, once each way, shows here.
//
// A fake checks a request as strictly as its provider does and refuses it in the
// provider's own words and shape: members it does not know, a wrong key, roles and
// tool results out of order, tool ids of the wrong alphabet, media that is not
// what it says, and provider state (thinking signatures, encrypted reasoning,
// thought signatures) that it did not sign itself for this very model.
//
// What the model does is written in the last text of the user, a command a line.
// Other lines are said back if they begin with "say:"; without any command the
// model says "Hello from MODEL".
//
//	say: text             the answer is text
//	#tool NAME {…}        calls the tool, one step; several lines are several steps
//	#tools NAME {…} | …   calls tools in parallel, one step
//	#think                thinks first, where the request allows it (each step)
//	#redacted             thinks in secret (Anthropic's redacted_thinking)
//	#json                 a JSON value that fits the schema asked for
//	#long                 words until the limit of tokens
//	#stopseq              words until the first stop sequence
//	#refuse               declines, in the provider's way
//	#cite                 text with a citation of a web page
//	#cache                usage reports tokens read from and written to a cache
//	#echo-system          says the instructions it was given
//	#describe             a [Description] of the request, as JSON
//	#error 429            fails with the status
//	#midstream-error      fails after a few words
//	#cut, #cut clean      breaks off after a few words, by a reset or without one
//	#slow 50ms            pauses before each event
//
// After the last step of a tool loop the model tells what the tools said
// ("get_weather: sunny"). A tool that must be called (tool choice) is called
// with arguments that fit its schema; a schema for the answer is obeyed.
package fakes
