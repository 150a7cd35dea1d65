// The official OpenAI client, unmodified but for base URL and key. Started by
// ../js_test.go, which also runs the gateway and the fake upstream.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import OpenAI from 'openai';
import { zodFunction, zodResponseFormat } from 'openai/helpers/zod';
import { z } from 'zod';

const {
  TOLLGATE_URL, TOLLGATE_TOKEN, TOLLGATE_LIMITED_URL, TOLLGATE_LIMITED_TOKEN, UPSTREAM_URL, PROMPT_MARKER,
} = process.env;
assert.ok(TOLLGATE_URL && UPSTREAM_URL, 'run these tests with: go test ./e2e -run TestOpenAINode');

const client = new OpenAI({ baseURL: `${TOLLGATE_URL}/v1`, apiKey: TOLLGATE_TOKEN, maxRetries: 0 });
const model = 'gpt-4o';
const ask = (content) => [{ role: 'user', content }];

/** Reads the newest rows of the user's usage log. */
async function rows() {
  const response = await fetch(`${TOLLGATE_URL}/usage/logs?limit=1000`, {
    headers: { authorization: `Bearer ${TOLLGATE_TOKEN}` },
  });
  assert.equal(response.status, 200);
  return (await response.json()).logs;
}

/** Waits until the newest row fits; rows reach the log a moment after the answer. */
async function newestRow(fits) {
  for (const deadline = Date.now() + 5000; Date.now() < deadline; await new Promise((r) => setTimeout(r, 20))) {
    const [row] = await rows();
    if (row && fits(row)) return row;
  }
  assert.fail(`no such row; the newest is ${JSON.stringify((await rows())[0])}`);
}

test('chat', async () => {
  const answer = await client.chat.completions.create({ model, messages: ask(`hello ${PROMPT_MARKER}`) });
  assert.equal(answer.choices[0].message.content, 'Hello from gpt-4o');
  assert.equal(answer.usage.total_tokens, 1500);
  assert.ok(answer._request_id, 'a request id to report');
  const row = await newestRow((r) => r.success);
  assert.equal(row.input_tokens, 1000);
  assert.equal(row.output_tokens, 500);
  assert.equal(row.cost_usd, 0.0075);
});

test('specialist', async () => {
  const answer = await client.chat.completions.create({ model: 'financial-analyst', messages: ask('hello') });
  assert.equal(answer.choices[0].message.content, 'Hello from gpt-4o');
  await newestRow((r) => r.specialist_id === 'financial-analyst');
});

for (const wanted of [false, true]) {
  test(`stream, usage ${wanted ? '' : 'not '}asked for`, async () => {
    const stream = await client.chat.completions.create({
      model: 'gpt-4o-mini', messages: ask('hello'), stream: true, ...(wanted && { stream_options: { include_usage: true } }),
    });
    let text = '';
    let usage = 0;
    let finish;
    for await (const chunk of stream) {
      text += chunk.choices[0]?.delta?.content ?? '';
      finish = chunk.choices[0]?.finish_reason ?? finish;
      if (chunk.choices.length === 0) usage++;
    }
    assert.equal(text, 'Hello from gpt-4o-mini');
    assert.equal(finish, 'stop');
    assert.equal(usage, wanted ? 1 : 0);
    await newestRow((r) => r.success && r.model === 'gpt-4o-mini' && r.output_tokens === 500);
  });
}

test('stream helper', async () => {
  const words = [];
  const runner = client.chat.completions.stream({ model, messages: ask('hello') }).on('content', (w) => words.push(w));
  assert.equal(await runner.finalContent(), 'Hello from gpt-4o');
  assert.ok(words.length > 1);
});

for (const stream of [false, true]) {
  test(`tools, run by the helper${stream ? ', streamed' : ''}`, async () => {
    const asked = [];
    const runner = client.chat.completions.runTools({
      model, stream, messages: ask('weather in Paris?'),
      tools: [zodFunction({
        name: 'get_weather', parameters: z.object({ city: z.string() }),
        function: ({ city }) => { asked.push(city); return 'sunny'; },
      })],
    });
    assert.equal(await runner.finalContent(), 'The tool said: sunny');
    assert.deepEqual(asked, ['Paris']);
  });
}

test('JSON schema, parsed by the helper', async () => {
  const answer = await client.chat.completions.parse({
    model, messages: ask('which city?'),
    response_format: zodResponseFormat(z.object({ city: z.string(), population: z.number() }), 'city'),
  });
  assert.deepEqual(answer.choices[0].message.parsed, { city: 'Paris', population: 2100000 });
});

test('embeddings', async () => {
  const answer = await client.embeddings.create({ model: 'text-embedding-3-small', input: ['one', 'three'] });
  assert.deepEqual(answer.data.map((d) => d.embedding), [[3, 0.5, -1], [5, 0.5, -1]]);
});

test('models', async () => {
  const ids = [];
  for await (const m of client.models.list()) ids.push(m.id);
  assert.ok(ids.includes('financial-analyst'), ids.join());
  assert.ok(ids.includes('gpt-4o') || ids.includes('openai/gpt-4o'), ids.join());
});

/** Checks an error's class, status and request id, and gives it. */
async function rejected(promise, kind, status) {
  const error = await promise.then(() => assert.fail('the call succeeded'), (e) => e);
  assert.ok(error instanceof kind, `${error.constructor.name}: ${error.message}`);
  assert.equal(error.status, status);
  assert.ok(error.requestID);
  return error;
}

test('AuthenticationError', async () => {
  const stranger = new OpenAI({ baseURL: `${TOLLGATE_URL}/v1`, apiKey: 'sk-no-token-of-ours', maxRetries: 0 });
  const call = stranger.chat.completions.create({ model, messages: ask('hello') });
  const error = await rejected(call, OpenAI.AuthenticationError, 401);
  assert.equal(error.code, 'invalid_api_key');
});

test('NotFoundError', async () => {
  const call = client.chat.completions.create({ model: 'no-such-model', messages: ask('hello') });
  const error = await rejected(call, OpenAI.NotFoundError, 404);
  assert.equal(error.code, 'model_not_found');
});

test('BadRequestError of the gateway', async () => {
  const error = await rejected(client.chat.completions.create({ model }), OpenAI.BadRequestError, 400);
  assert.equal(error.param, 'messages');
});

test('BadRequestError of the upstream', async () => {
  const call = client.chat.completions.create({ model, messages: ask('refuse this') });
  const error = await rejected(call, OpenAI.BadRequestError, 400);
  assert.equal(error.param, 'temperature');
  assert.equal(error.code, 'unsupported_value');
});

test('RateLimitError of the upstream', async () => {
  const error = await rejected(client.chat.completions.create({ model, messages: ask('busy') }), OpenAI.RateLimitError, 429);
  assert.ok(!error.message.includes('org-secret'));
});

test('RateLimitError of the gateway, then the client retries', async () => {
  const options = { baseURL: `${TOLLGATE_LIMITED_URL}/v1`, apiKey: TOLLGATE_LIMITED_TOKEN };
  const impatient = new OpenAI({ ...options, maxRetries: 0 });
  const calls = Array.from({ length: 5 }, () => impatient.chat.completions.create({ model, messages: ask('hello') }));
  const refused = (await Promise.allSettled(calls)).filter((r) => r.status === 'rejected').map((r) => r.reason);
  assert.ok(refused.length > 0);
  for (const error of refused) {
    assert.ok(error instanceof OpenAI.RateLimitError, error.message);
    assert.equal(error.code, 'rate_limit_exceeded');
    assert.equal(error.headers.get('retry-after'), '1');
  }
  const patient = new OpenAI({ ...options, maxRetries: 3 });
  const answer = await patient.chat.completions.create({ model, messages: ask('hello') });
  assert.equal(answer.choices[0].message.content, 'Hello from gpt-4o');
});

test('abort in mid-stream reaches the upstream and the log', async () => {
  const stream = await client.chat.completions.create({ model: 'gpt-4o-mini', messages: ask('stall'), stream: true });
  let left;
  for await (const chunk of stream) {
    assert.equal(chunk.choices[0].delta.content, 'Wait');
    left = Date.now();
    stream.controller.abort();
  }
  const seen = await (await fetch(`${UPSTREAM_URL}/left`)).json();
  assert.ok(seen.left, 'the upstream was not told');
  assert.ok(seen.at - left < 500, `the upstream was told after ${seen.at - left} ms`);
  const row = await newestRow((r) => !r.success && r.model === 'gpt-4o-mini');
  assert.ok(row.output_tokens < 500);
});
