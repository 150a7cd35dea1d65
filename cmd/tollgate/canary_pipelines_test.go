package main

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/stretchr/testify/require"
)

// canaryPipeline asks a model and a web service with what the query says, hands on
// what comes back, and wants JSON of a model that has none.
const canaryPipeline = `{"name":"canary","description":"A walk.","output":"end","steps":[
	{"name":"ask","provider":"openai","model":"gpt-4o","system_prompt":"` + canaryMade + `","prompt":"` + canaryMade + ` {{ .query }}","retries":0,"on_failure":"empty"},
	{"name":"look","http":{"url":"http://HOST/look","query":{"q":"{{ .query }}"},"headers":{"X-Said":"{{ json .query }}"},"body":"{{ .query }}"},"retries":0,"on_failure":"empty"},
	{"name":"judge","depends_on":["ask","look"],"provider":"openai","model":"gpt-4o","prompt":"` + canaryMade + ` {{ .steps.ask.output }} {{ .steps.look.output }}",
	 "format":"json","schema":{"type":"object","required":["ok"]},"retries":0,"on_failure":"empty"},
	{"name":"each","depends_on":["ask"],"provider":"mistral","model":"mistral-small-latest","map":{"over":"[query, steps.ask.output]","on_failure":"skip"},
	 "prompt":"{{ .item }}","retries":0},
	{"name":"odd","depends_on":["ask"],"transform":"int(query)","on_failure":"empty"},
	{"name":"end","depends_on":["ask","judge","each","odd"],"specialist":"legal-quick","prompt":"{{ .steps.ask.output }} {{ .steps.each.output }} please WAY","retries":0}]}`

// pipelines are made by an admin and run, well and badly.
func (w *canaryWalk) pipelines() {
	w.t.Helper()
	const definitions = "/api/v2/pipelines/definitions"
	definition := strings.ReplaceAll(canaryPipeline, "HOST", w.asked)
	w.call(201, "POST", definitions, strings.Replace(definition, "WAY", "answer", 1))
	failing := strings.Replace(strings.Replace(definition, "WAY", "refuse the request", 1), `"canary"`, `"failing"`, 1)
	w.call(201, "POST", definitions, failing)
	require.Contains(w.t, w.call(200, "GET", definitions+"/canary", "").Body, canaryMade)
	w.call(200, "PUT", definitions+"/canary", strings.Replace(definition, "WAY", "answer", 1))
	w.call(200, "GET", definitions+"/canary/versions", "")
	for _, wrong := range [][2]string{
		{"{{ .query }}", "{{ .nothing }}"},
		{"{{ .query }}", "{{ .query"},
		{`"over":"`, `"over":"'` + canaryPrompt + `' + `},
		{`"retries":0`, `"retries":"` + canaryPrompt + `"`},
		{`"transform":"`, `"transform":"'` + canaryPrompt + `' + `},
		{`"required":["ok"]`, `"type":"` + canaryPrompt + `"`},
		{"http://HOST", "ftp://" + canaryPrompt},
	} {
		w.call(422, "POST", definitions, strings.Replace(strings.Replace(canaryPipeline, wrong[0], wrong[1], 1), `"canary"`, `"wrong"`, 1))
	}
	for _, path := range []string{"/api/v2/pipelines/list", "/pipelines", definitions, definitions + "/canary/graph", "/audit"} {
		w.personal.scan(w.t, path, []byte(w.call(200, "GET", path, "").Body))
	}
	for _, how := range append([]string{"answer", "break in the middle", "cut"}, failures...) {
		w.followRun("canary", how, "complete")
	}
	failed := w.followRun("failing", "answer", "error")
	w.call(200, "POST", "/api/v2/pipelines/runs/"+failed+"/resume", "{}")
	w.runEnds(w.token, failed, "failed")
	w.call(409, "POST", "/api/v2/pipelines/runs/"+w.followRun("canary", "answer", "complete")+"/resume", "{}")
	w.cancelRun()
	w.call(422, "POST", "/api/v2/pipelines/run", `{"pipeline_name":"canary","query":"`+canaryPrompt+`","idempotency_key":"`+strings.Repeat(canaryPrompt, 20)+`"}`)
	w.call(404, "POST", "/api/v2/pipelines/run", `{"pipeline_name":"`+canaryPrompt+`","query":"`+canaryPrompt+`"}`)
	for _, path := range []string{"/usage/pipelines", "/api/v2/pipelines/runs"} {
		w.personal.without("prompt").scan(w.t, path, []byte(w.call(200, "GET", path, "").Body)) // its owner's
	}
	w.personal.scan(w.t, "/usage/logs", []byte(w.call(200, "GET", "/usage/logs?limit=500", "").Body))
	w.call(200, "DELETE", definitions+"/failing", "")
}

// followRun runs a pipeline to its end. Its owner sees what they asked, and the
// answers, but no word on what failed repeats any of it.
func (w *canaryWalk) followRun(pipeline, how, end string) (id string) {
	w.t.Helper()
	id = w.startRun(w.token, pipeline, canaryPrompt+" please "+how, "Idempotency-Key", canaryPrompt+time.Now().String())
	f := w.follow(w.token, id)
	defer func() { _ = f.conn.CloseNow() }()
	require.Equal(w.t, end, f.until("").Type, "%s: %v", how, f.all)
	for _, e := range f.all {
		w.personal.scan(w.t, pipeline+": "+how+": "+e.Type, []byte(e.Data.Message+e.Data.Reason))
		if e.Data.Agent != "look" { // which gives what the web service says, word for word
			w.secrets.scan(w.t, pipeline+": "+how+": "+e.Type, []byte(e.Data.Content+e.Data.Output))
		}
	}
	run := w.getRun(w.token, id)
	w.secrets.scan(w.t, "the run", []byte(run.Body))
	w.personal.scan(w.t, "the run's error", []byte(run.get("error_message")))
	return id
}

// cancelRun cancels a run in the middle of an answer.
func (w *canaryWalk) cancelRun() {
	w.t.Helper()
	id := w.startRun(w.token, "canary", canaryPrompt+" please drip")
	f := w.follow(w.token, id)
	f.until("agent_token")
	w.call(200, "POST", "/api/v2/pipelines/runs/"+id+"/cancel", "{}")
	f.until("error")
	_ = f.conn.CloseNow()
	var run struct {
		Code string `json:"error_code"`
	}
	require.NoError(w.t, json.Unmarshal([]byte(w.getRun(w.token, id).Body), &run))
	require.Equal(w.t, "cancelled", run.Code)
}
