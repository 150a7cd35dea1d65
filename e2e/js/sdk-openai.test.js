// The official OpenAI client, unmodified but for base URL and key, against every
// kind of provider. Started by ../sdk_test.go.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import OpenAI from 'openai';
import { zodFunction, zodResponseFormat, zodTextFormat } from 'openai/helpers/zod';
import { z } from 'zod';
import { described, drain, pdf, pdfBytes, png, pngBytes, rejected, targets, usage } from './targets.js';

const user = (content) => [{ role: 'user', content }];
const City = z.object({ city: z.string(), population: z.number() });

for (const t of targets) {
  const client = new OpenAI({ baseURL: t.url + t.openai, apiKey: t.key, maxRetries: 0 });
  const chat = (text, more = {}) => client.chat.completions.create({ model: t.model, messages: user(text), ...more });
  const streamed = (text, more = {}) => client.chat.completions.stream({ model: t.model, messages: user(text), ...more });

  const weather = (asked = []) => [
    zodFunction({
      name: 'get_weather', description: 'Tells the weather.', parameters: z.object({ city: z.string() }),
      function: ({ city }) => { asked.push(city); return `sunny in ${city}`; },
    }),
    zodFunction({ name: 'get_time', parameters: z.object({}), function: () => '12:00' }),
  ];
  const loop = '#tools get_weather {"city":"Paris"} | get_weather {"city":"Rome"}\n#tool get_time';
  const told = 'get_weather: sunny in Paris; get_weather: sunny in Rome; get_time: 12:00';

  describe(`chat completions, ${t.name}`, () => {
    test('plain', async () => {
      const answer = await chat('say: one two three');
      assert.equal(answer.choices[0].message.content, 'one two three');
      assert.equal(answer.choices[0].message.role, 'assistant');
      assert.equal(answer.choices[0].finish_reason, 'stop');
      assert.equal(answer.usage.prompt_tokens, usage.input);
      assert.equal(answer.usage.completion_tokens, usage.output);
    });

    test('cache in usage', async () => {
      const answer = await chat('#cache');
      assert.equal(answer.usage.prompt_tokens, usage.input);
      assert.equal(answer.usage.prompt_tokens_details.cached_tokens, usage.cacheRead);
    });

    test('stream helper', async () => {
      const words = [];
      const runner = streamed('say: one two three', { stream_options: { include_usage: true } }).on('content', (w) => words.push(w));
      assert.equal(await runner.finalContent(), 'one two three');
      assert.deepEqual(words, ['one ', 'two ', 'three']);
      const whole = await runner.finalChatCompletion();
      assert.equal(whole.choices[0].finish_reason, 'stop');
      assert.equal((await runner.totalUsage()).total_tokens, usage.input + usage.output);
    });

    for (const stream of [false, true]) {
      test(`tool runner${stream ? ', streamed' : ''}`, async () => {
        const asked = [];
        const runner = client.chat.completions.runTools({ model: t.model, stream, messages: user(loop), tools: weather(asked) });
        assert.equal(await runner.finalContent(), told);
        assert.deepEqual(asked, ['Paris', 'Rome']);
      });

      test(`thinking over a tool loop${stream ? ', streamed' : ''}`, async () => {
        const runner = client.chat.completions.runTools({
          model: t.thinker, stream, reasoning_effort: 'low', messages: user(loop), tools: weather(),
          ...(stream && { stream_options: { include_usage: true } }),
        });
        assert.equal(await runner.finalContent(), told);
        const last = (await runner.allChatCompletions()).at(-1);
        assert.equal(last.usage.completion_tokens_details.reasoning_tokens, usage.reasoning, 'the last answer was thought over, too');
      });
    }

    test('parsed by a schema', async () => {
      const answer = await client.chat.completions.parse({
        model: t.model, messages: user('#json'), response_format: zodResponseFormat(City, 'city'),
      });
      const { message } = answer.choices[0];
      assert.deepEqual(message.parsed, { city: 'Paris', population: 42 });
      if (t.kind.startsWith('openai')) return; // where it passes as it is
      const next = await chat('', { messages: [...user('#json'), message, ...user('say: so be it')] });
      assert.equal(next.choices[0].message.content, 'so be it');
    });

    test('system, image and PDF', async () => {
      const answer = await chat([
        { type: 'text', text: '#describe' },
        { type: 'image_url', image_url: { url: `data:image/png;base64,${png}` } },
        { type: 'file', file: { filename: 'a.pdf', file_data: `data:application/pdf;base64,${pdf}` } },
      ]);
      const { items } = described(answer.choices[0].message.content);
      assert.deepEqual(items.slice(1), [
        { role: 'user', kind: 'image', mime: 'image/png', bytes: pngBytes },
        { role: 'user', kind: 'document', mime: 'application/pdf', bytes: pdfBytes },
      ]);
      const system = await client.chat.completions.create({
        model: t.model, messages: [{ role: 'system', content: 'Be brief.' }, ...user('#echo-system')],
      });
      assert.equal(system.choices[0].message.content, 'Be brief.');
    });

    test('conversation and sampling', async () => {
      const params = {
        model: t.model, temperature: 0.5, top_p: 0.9, max_completion_tokens: 2000, stop: ['END'],
        messages: [...user('hello'), { role: 'assistant', content: 'hi' }, ...user('#describe')],
      };
      if (t.kind === 'anthropic') { // takes one of the two
        const error = await rejected(client.chat.completions.create(params), OpenAI.BadRequestError, 400);
        assert.equal(error.param, 'top_p');
        delete params.top_p;
      }
      const answer = await client.chat.completions.create(params);
      const d = described(answer.choices[0].message.content);
      assert.deepEqual(d, {
        items: [
          { role: 'user', kind: 'text', text: 'hello' }, { role: 'assistant', kind: 'text', text: 'hi' },
          { role: 'user', kind: 'text', text: '#describe' },
        ],
        temperature: 0.5, ...(params.top_p && { top_p: 0.9 }), max_tokens: 2000, stop: ['END'],
      });
    });

    test('finish reasons', async () => {
      const long = await chat('#long', { max_completion_tokens: 16 });
      assert.equal(long.choices[0].finish_reason, 'length');
      const stop = await chat('#stopseq', { stop: ['END'] });
      assert.equal(stop.choices[0].finish_reason, 'stop');
      const tool = await chat('#tool get_time', { tools: weather().map(({ type, function: f }) => ({ type, function: f })) });
      assert.equal(tool.choices[0].finish_reason, 'tool_calls');
    });

    test('tool choice', async () => {
      const tools = weather().map(({ type, function: f }) => ({ type, function: f }));
      const answer = await chat('hello', { tools, tool_choice: { type: 'function', function: { name: 'get_weather' } } });
      assert.equal(answer.choices[0].message.tool_calls[0].function.name, 'get_weather');
      assert.deepEqual(JSON.parse(answer.choices[0].message.tool_calls[0].function.arguments), { city: 'Paris' });
      const none = await chat('#tool get_time\nsay: no', { tools, tool_choice: 'none' });
      assert.equal(none.choices[0].message.content, 'no');
    });

    test('several answers', async () => {
      const call = chat('say: hi', { n: 2 });
      if (t.kind === 'anthropic') {
        assert.equal((await rejected(call, OpenAI.BadRequestError, 400)).param, 'n');
        return;
      }
      assert.deepEqual((await call).choices.map((c) => c.message.content), ['hi', 'hi (2)']);
    });

    test('log probabilities', async () => {
      const call = chat('say: one two', { logprobs: true, top_logprobs: 2 });
      if (t.kind === 'anthropic') {
        assert.equal((await rejected(call, OpenAI.BadRequestError, 400)).param, 'logprobs');
        return;
      }
      const { content } = (await call).choices[0].logprobs;
      assert.deepEqual(content.map((c) => [c.token, c.logprob, c.top_logprobs.length]), [['one ', -0.1, 2], ['two', -0.1, 2]]);
    });

    test('citation', async () => {
      const answer = await chat('#cite');
      assert.equal(answer.choices[0].message.content, 'Paris is the capital of France.');
      const [cited] = answer.choices[0].message.annotations;
      assert.equal(cited.url_citation.url, 'https://example.com/paris');
      assert.equal(cited.url_citation.title, 'Paris');
    });

    test('error classes', async () => {
      await rejected(chat('#error 400'), OpenAI.BadRequestError, 400);
      const busy = await rejected(chat('#error 429'), OpenAI.RateLimitError, 429);
      assert.equal(busy.headers.get('retry-after'), '7');
      await rejected(chat('#error 500'), OpenAI.InternalServerError);
      await rejected(chat('#error 529'), OpenAI.InternalServerError);
      if (t.direct) await rejected(chat('#error 403'), OpenAI.PermissionDeniedError, 403);
      await rejected(chat('hi', { model: 'no-such-model' }), OpenAI.NotFoundError, 404);
      const stranger = new OpenAI({ baseURL: t.url + t.openai, apiKey: 'wrong', maxRetries: 0 });
      await rejected(stranger.chat.completions.create({ model: t.model, messages: user('hi') }), OpenAI.AuthenticationError, 401);
    });

    test('a broken stream raises', async () => {
      for (const fault of ['#midstream-error', '#cut', '#cut clean']) {
        const runner = streamed(`${fault}\nsay: one two three four`);
        const error = await rejected(runner.finalContent(), Error);
        if (t.direct) continue;
        assert.ok(error instanceof OpenAI.APIError, `${fault}: ${error.constructor.name} ${error.message}`);
        assert.doesNotMatch(error.message, /secret123/);
      }
    });

    test('a member the provider lacks', { skip: t.direct || t.kind !== 'anthropic' }, async () => {
      const error = await rejected(chat('hi', { seed: 7 }), OpenAI.BadRequestError, 400);
      assert.equal(error.param, 'seed');
      const answer = await client.chat.completions.create(
        { model: t.model, messages: user('say: hi'), seed: 7 }, { headers: { 'X-Tollgate-Unsupported': 'drop' } },
      );
      assert.equal(answer.choices[0].message.content, 'hi');
    });

    test('models', async () => {
      const ids = (await drain(client.models.list())).map((m) => m.id);
      assert.ok(ids.length > 0);
      assert.equal((await client.models.retrieve(ids[0])).id, ids[0]);
      await rejected(client.models.retrieve('no-such-model'), OpenAI.NotFoundError, 404);
    });

    test('embeddings', { skip: !t.embedder }, async () => {
      const answer = await client.embeddings.create({ model: t.embedder, input: ['one', 'three'] });
      assert.deepEqual(answer.data.map((d) => d.embedding), [[3, 0.5, -1], [5, 0.5, -1]]);
      const one = await client.embeddings.create({ model: t.embedder, input: 'one', dimensions: 2, encoding_format: 'float' });
      assert.deepEqual(one.data[0].embedding, [3, 0.5]);
    });
  });

  if (t.direct && t.kind !== 'openai') continue;
  describe(`Responses, ${t.name}`, () => {
    const respond = (input, more = {}) => client.responses.create({ model: t.model, input, ...more });
    const tools = [
      { type: 'function', name: 'get_weather', parameters: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'], additionalProperties: false }, strict: true },
      { type: 'function', name: 'get_time', parameters: null, strict: false },
    ].map((tool) => ({ ...tool, parameters: tool.parameters ?? { type: 'object', properties: {}, additionalProperties: false } }));
    const run = (call) => (call.name === 'get_time' ? '12:00' : `sunny in ${JSON.parse(call.arguments).city}`);
    const outputs = (response) => response.output.filter((o) => o.type === 'function_call')
      .map((call) => ({ type: 'function_call_output', call_id: call.call_id, output: run(call) }));

    test('plain', async () => {
      const answer = await respond('say: one two three', { instructions: 'Be brief.' });
      assert.equal(answer.output_text, 'one two three');
      assert.equal(answer.status, 'completed');
      assert.equal(answer.usage.input_tokens, usage.input);
      assert.equal(answer.usage.output_tokens, usage.output);
      assert.equal((await respond('#echo-system', { instructions: 'Be brief.' })).output_text, 'Be brief.');
    });

    test('stream helper', async () => {
      const stream = client.responses.stream({ model: t.model, input: 'say: one two three' });
      const events = await drain(stream);
      assert.deepEqual(events.map((e) => e.sequence_number), events.map((_, i) => i));
      assert.equal(events[0].type, 'response.created');
      assert.equal(events.at(-1).type, 'response.completed');
      assert.deepEqual(events.filter((e) => e.type === 'response.output_text.delta').map((e) => e.delta), ['one ', 'two ', 'three']);
      assert.equal((await stream.finalResponse()).output_text, 'one two three');
    });

    for (const stream of [false, true]) {
      test(`thinking over a tool loop, nothing stored${stream ? ', streamed' : ''}`, async () => {
        const input = user(loop);
        let answer;
        for (let step = 0; step < 4; step++) {
          const params = {
            model: t.thinker, input, tools, store: false, include: ['reasoning.encrypted_content'], reasoning: { effort: 'low', summary: 'auto' },
          };
          answer = stream ? await client.responses.stream(params).finalResponse() : await client.responses.create(params);
          if (t.kind !== 'openai_chat') assert.equal(answer.output[0].type, 'reasoning');
          const results = outputs(answer);
          if (results.length === 0) break;
          input.push(...answer.output, ...results);
        }
        assert.equal(answer.output_text, told);
        assert.equal(answer.usage.output_tokens_details.reasoning_tokens, usage.reasoning);
        const thought = answer.output.find((o) => o.type === 'reasoning');
        assert.equal(thought.summary[0].text, 'Step 3: let me think it over.');
      });
    }

    test('previous_response_id', async () => {
      let answer = await respond(loop, { tools, store: true });
      for (let step = 0; step < 4 && outputs(answer).length > 0; step++) {
        answer = await client.responses.create({
          model: t.model, tools, store: true, previous_response_id: answer.id, input: outputs(answer),
        });
      }
      assert.equal(answer.output_text, told);
      const error = await rejected(respond('hi', { previous_response_id: 'resp_unknown' }), OpenAI.APIError);
      assert.ok(error.status === 400 || error.status === 404, String(error.status));
    });

    test('parsed by a schema', async () => {
      const answer = await client.responses.parse({ model: t.model, input: '#json', text: { format: zodTextFormat(City, 'city') } });
      assert.deepEqual(answer.output_parsed, { city: 'Paris', population: 42 });
    });

    test('image', async () => {
      const answer = await respond([{ role: 'user', content: [
        { type: 'input_text', text: '#describe' }, { type: 'input_image', image_url: `data:image/png;base64,${png}`, detail: 'auto' },
      ] }]);
      assert.deepEqual(described(answer.output_text).items[1], { role: 'user', kind: 'image', mime: 'image/png', bytes: pngBytes });
    });

    test('incomplete', async () => {
      const answer = await respond('#long', { max_output_tokens: 16 });
      assert.equal(answer.status, 'incomplete');
      assert.equal(answer.incomplete_details.reason, 'max_output_tokens');
    });

    test('errors', async () => {
      await rejected(respond('#error 400'), OpenAI.BadRequestError, 400);
      await rejected(respond('#error 429'), OpenAI.RateLimitError, 429);
      await rejected(respond('#error 500'), OpenAI.InternalServerError);
      await rejected(client.responses.create({ model: t.model, input: [{ type: 'function_call_output', call_id: 'x', output: 'a' }] }), OpenAI.BadRequestError, 400);
      for (const fault of ['#midstream-error', '#cut', '#cut clean']) {
        const stream = client.responses.stream({ model: t.model, input: `${fault}\nsay: one two three four` });
        const outcome = await stream.finalResponse().then((r) => r.status, (e) => e);
        // Without a last event the SDK leaves the answer as it began.
        const broken = t.direct ? ['failed', 'in_progress'] : ['failed'];
        assert.ok(outcome instanceof Error || broken.includes(outcome), `${fault}: ${outcome}`);
      }
    });

    test('token count', async () => {
      const count = await client.responses.inputTokens.count({ model: t.model, input: 'hello', tools });
      assert.ok(count.input_tokens > 0);
      if (t.kind !== 'openai_chat') assert.equal(count.input_tokens, usage.counted);
    });
  });
}
