// The official Anthropic client, unmodified but for base URL and key, against
// every kind of provider. Started by ../sdk_test.go.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import Anthropic from '@anthropic-ai/sdk';
import { betaZodTool } from '@anthropic-ai/sdk/helpers/beta/zod';
import { zodOutputFormat } from '@anthropic-ai/sdk/helpers/zod';
import { z } from 'zod';
import { described, drain, pdf, pdfBytes, png, pngBytes, rejected, targets, usage } from './targets.js';

const user = (content) => [{ role: 'user', content }];

for (const t of targets) {
  const client = new Anthropic({ baseURL: t.url + t.anthropic, apiKey: t.key, maxRetries: 0 });
  const params = (content, more = {}) => ({ model: t.model, max_tokens: 2000, messages: user(content), ...more });
  const ask = (content, more) => client.messages.create(params(content, more));
  const text = (message) => message.content.filter((b) => b.type === 'text').map((b) => b.text).join('');
  const thinking = { type: 'enabled', budget_tokens: 1024 };

  const tools = (asked = []) => [
    betaZodTool({
      name: 'get_weather', description: 'Tells the weather.', inputSchema: z.object({ city: z.string() }),
      run: ({ city }) => { asked.push(city); return `sunny in ${city}`; },
    }),
    betaZodTool({ name: 'get_time', description: 'Tells the time.', inputSchema: z.object({}), run: () => '12:00' }),
  ];
  const loop = '#tools get_weather {"city":"Paris"} | get_weather {"city":"Rome"}\n#tool get_time';
  const told = 'get_weather: sunny in Paris; get_weather: sunny in Rome; get_time: 12:00';

  describe(`messages, ${t.name}`, () => {
    test('plain', async () => {
      const answer = await ask('say: one two three');
      assert.equal(text(answer), 'one two three');
      assert.equal(answer.stop_reason, 'end_turn');
      assert.equal(answer.role, 'assistant');
      assert.equal(answer.usage.input_tokens, usage.input);
      assert.equal(answer.usage.output_tokens, usage.output);
    });

    test('cache', async () => {
      const answer = await ask('#cache', { system: [{ type: 'text', text: 'Be brief.', cache_control: { type: 'ephemeral' } }] });
      assert.equal(answer.usage.cache_read_input_tokens, usage.cacheRead);
      const written = answer.usage.cache_creation_input_tokens ?? 0;
      if (t.kind !== 'gemini') assert.equal(written, usage.cacheWrite);
      assert.equal(answer.usage.input_tokens + answer.usage.cache_read_input_tokens + written, usage.input);
      const system = await ask('#echo-system', { system: [{ type: 'text', text: 'Be brief.', cache_control: { type: 'ephemeral' } }] });
      assert.equal(text(system), 'Be brief.');
    });

    test('stream helper', async () => {
      const words = [];
      const stream = client.messages.stream(params('say: one two three')).on('text', (w) => words.push(w));
      const message = await stream.finalMessage();
      assert.deepEqual(words, ['one ', 'two ', 'three']);
      assert.equal(text(message), 'one two three');
      assert.equal(message.stop_reason, 'end_turn');
      assert.equal(message.usage.output_tokens, usage.output);
      assert.equal(message.usage.input_tokens, usage.input);
    });

    test('events in order', async () => {
      const events = await drain(await client.messages.create({ ...params('say: hi'), stream: true }));
      const kinds = events.map((e) => e.type).filter((k) => k !== 'ping').join(' ');
      // Blocks follow each other; a provider's state may be a block of its own.
      assert.match(kinds, /^message_start( content_block_start( content_block_delta)* content_block_stop)+ message_delta message_stop$/);
      const starts = events.filter((e) => e.type === 'content_block_start').map((e) => e.index);
      assert.deepEqual(starts, starts.map((_, i) => i));
    });

    for (const stream of [false, true]) {
      test(`tool runner${stream ? ', streamed' : ''}`, async () => {
        const asked = [];
        const runner = client.beta.messages.toolRunner({ ...params(loop), tools: tools(asked), stream });
        assert.equal(text(await runner), told);
        assert.deepEqual(asked, ['Paris', 'Rome']);
      });

      test(`thinking over a tool loop${stream ? ', streamed' : ''}`, async () => {
        const runner = client.beta.messages.toolRunner({ ...params(loop), model: t.thinker, tools: tools(), thinking, stream });
        const last = await runner;
        assert.equal(text(last), told);
        assert.equal(last.content[0].type, 'thinking', JSON.stringify(last.content));
        assert.equal(last.content[0].thinking, 'Step 3: let me think it over.');
        assert.equal(last.usage.output_tokens, usage.output + usage.reasoning);
      });
    }

    test('redacted thinking', { skip: t.kind !== 'anthropic' }, async () => {
      const runner = client.beta.messages.toolRunner({ ...params(`#redacted\n${loop}`), model: t.thinker, tools: tools(), thinking });
      const last = await runner;
      assert.equal(last.content[0].type, 'redacted_thinking');
      assert.equal(text(last), told);
    });

    test('parsed by a schema', async () => {
      const answer = await client.messages.parse({
        ...params('#json'), output_config: { format: zodOutputFormat(z.object({ city: z.string(), population: z.number() })) },
      });
      assert.deepEqual(answer.parsed_output, { city: 'Paris', population: 42 });
    });

    test('image and PDF', async () => {
      const answer = await ask([
        { type: 'text', text: '#describe' },
        { type: 'image', source: { type: 'base64', media_type: 'image/png', data: png } },
        { type: 'document', source: { type: 'base64', media_type: 'application/pdf', data: pdf } },
      ]);
      assert.deepEqual(described(text(answer)).items.slice(1), [
        { role: 'user', kind: 'image', mime: 'image/png', bytes: pngBytes },
        { role: 'user', kind: 'document', mime: 'application/pdf', bytes: pdfBytes },
      ]);
    });

    test('conversation and sampling', async () => {
      const answer = await client.messages.create({
        model: t.model, max_tokens: 2000, stop_sequences: ['END'],
        messages: [...user('hello'), { role: 'assistant', content: 'hi' }, ...user('#describe')],
      });
      assert.deepEqual(described(text(answer)), {
        items: [
          { role: 'user', kind: 'text', text: 'hello' }, { role: 'assistant', kind: 'text', text: 'hi' },
          { role: 'user', kind: 'text', text: '#describe' },
        ],
        max_tokens: 2000, stop: ['END'],
      });
    });

    test('stop reasons', async () => {
      assert.equal((await ask('#long', { max_tokens: 16 })).stop_reason, 'max_tokens');
      const met = await ask('#stopseq', { stop_sequences: ['END'] });
      if (t.kind === 'anthropic') assert.equal(met.stop_sequence, 'END');
      assert.ok(['stop_sequence', 'end_turn'].includes(met.stop_reason));
      assert.equal((await ask('#tool get_time', { tools: [{ name: 'get_time', input_schema: { type: 'object' } }] })).stop_reason, 'tool_use');
      assert.equal((await ask('#refuse')).stop_reason, 'refusal');
    });

    test('tool choice', async () => {
      const all = [{ name: 'a', input_schema: { type: 'object' } }, { name: 'b', input_schema: { type: 'object' } }];
      const answer = await ask('hello', { tools: all, tool_choice: { type: 'tool', name: 'b' } });
      assert.equal(answer.content[0].name, 'b');
    });

    test('a tool that failed', async () => {
      const answer = await client.messages.create({
        model: t.model, max_tokens: 2000, tools: [{ name: 'a', input_schema: { type: 'object' } }],
        messages: [
          ...user('#tool a'), { role: 'assistant', content: [{ type: 'tool_use', id: 'toolu_1', name: 'a', input: {} }] },
          ...user([{ type: 'tool_result', tool_use_id: 'toolu_1', is_error: true, content: 'no network' }]),
        ],
      });
      assert.match(text(answer), /^a: .*no network/);
    });

    test('citation', async () => {
      const answer = await ask('#cite');
      const block = answer.content.find((b) => b.citations?.length);
      assert.equal(block?.citations[0].url, 'https://example.com/paris');
    });

    test('token count', async () => {
      const count = await client.messages.countTokens({ model: t.model, messages: user('hello'), system: 'Be brief.' });
      assert.ok(count.input_tokens > 0);
      if (t.kind !== 'openai_chat') assert.equal(count.input_tokens, usage.counted);
    });

    test('models', async () => {
      const all = await drain(client.models.list());
      assert.ok(all.length > 0);
      assert.equal((await client.models.retrieve(all[0].id)).id, all[0].id);
      await rejected(client.models.retrieve('no-such-model'), Anthropic.NotFoundError, 404);
    });

    test('error classes', async () => {
      await rejected(ask('#error 400'), Anthropic.BadRequestError, 400);
      const busy = await rejected(ask('#error 429'), Anthropic.RateLimitError, 429);
      assert.equal(busy.headers.get('retry-after'), '7');
      await rejected(ask('#error 500'), Anthropic.InternalServerError);
      await rejected(ask('#error 529'), Anthropic.InternalServerError);
      if (t.direct) await rejected(ask('#error 403'), Anthropic.PermissionDeniedError, 403);
      await rejected(ask('hi', { model: 'no-such-model' }), Anthropic.NotFoundError, 404);
      await rejected(ask([{ type: 'text', text: '' }, { type: 'nonsense' }]), Anthropic.BadRequestError, 400);
      const stranger = new Anthropic({ baseURL: t.url + t.anthropic, apiKey: 'wrong', maxRetries: 0 });
      await rejected(stranger.messages.create(params('hi')), Anthropic.AuthenticationError, 401);
    });

    test('a broken stream raises', async () => {
      for (const fault of ['#midstream-error', '#cut', '#cut clean']) {
        const stream = client.messages.stream(params(`${fault}\nsay: one two three four`));
        const error = await rejected(stream.finalMessage(), Anthropic.AnthropicError);
        if (!t.direct) assert.doesNotMatch(error.message, /secret123/);
      }
    });
  });
}
