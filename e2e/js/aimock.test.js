// A second opinion: providers as an independent mock plays them, which shares
// nothing with this repository. Started by ../aimock_test.go.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import Anthropic from '@anthropic-ai/sdk';
import { ApiError, GoogleGenAI } from '@google/genai';
import OpenAI from 'openai';
import { drain, rejected, targets } from './targets.js';

const parameters = { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] };
const user = (content) => [{ role: 'user', content }];
const hello = 'Hello from a mock by other people.';
const told = 'It is sunny in Paris.';

for (const t of targets) {
  describe(t.name, () => {
    test('chat completions', async () => {
      const client = new OpenAI({ baseURL: `${t.url}/v1`, apiKey: t.key, maxRetries: 0 });
      const answer = await client.chat.completions.create({ model: t.model, messages: user('hello') });
      assert.equal(answer.choices[0].message.content, hello);
      assert.equal(answer.usage.total_tokens, 18);
      assert.equal(await client.chat.completions.stream({ model: t.model, messages: user('hello') }).finalContent(), hello);
      const asked = [];
      const runner = client.chat.completions.runTools({
        model: t.model, stream: true, messages: user('weather'),
        tools: [{ type: 'function', function: { name: 'get_weather', parameters, parse: JSON.parse, function: ({ city }) => { asked.push(city); return 'sunny'; } } }],
      });
      assert.equal(await runner.finalContent(), told);
      assert.deepEqual(asked, ['Paris']);
      await rejected(client.chat.completions.create({ model: t.model, messages: user('fail') }), OpenAI.RateLimitError, 429);
    });

    test('Responses', async () => {
      const client = new OpenAI({ baseURL: `${t.url}/v1`, apiKey: t.key, maxRetries: 0 });
      const stream = client.responses.stream({ model: t.model, input: 'hello' });
      assert.equal((await stream.finalResponse()).output_text, hello);
      const tools = [{ type: 'function', name: 'get_weather', parameters, strict: false }];
      const called = await client.responses.create({ model: t.model, input: user('weather'), tools, store: false });
      const call = called.output.find((o) => o.type === 'function_call');
      assert.equal(call.arguments, '{"city":"Paris"}');
      const answer = await client.responses.create({
        model: t.model, tools, store: false,
        input: [...user('weather'), ...called.output, { type: 'function_call_output', call_id: call.call_id, output: 'sunny' }],
      });
      assert.equal(answer.output_text, told);
    });

    test('messages', async () => {
      const client = new Anthropic({ baseURL: t.url, apiKey: t.key, maxRetries: 0 });
      const params = { model: t.model, max_tokens: 100, tools: [{ name: 'get_weather', input_schema: parameters }] };
      const first = await client.messages.stream({ ...params, messages: user('hello') }).finalMessage();
      assert.equal(first.content[0].text, hello);
      assert.equal(first.usage.output_tokens, 7);
      const called = await client.messages.stream({ ...params, messages: user('weather') }).finalMessage();
      assert.equal(called.stop_reason, 'tool_use');
      const use = called.content.find((b) => b.type === 'tool_use');
      assert.deepEqual(use.input, { city: 'Paris' });
      const answer = await client.messages.create({
        ...params,
        messages: [...user('weather'), { role: 'assistant', content: called.content }, ...user([{ type: 'tool_result', tool_use_id: use.id, content: 'sunny' }])],
      });
      assert.equal(answer.content[0].text, told);
      await rejected(client.messages.create({ ...params, messages: user('fail') }), Anthropic.RateLimitError, 429);
    });

    test('generateContent', async () => {
      const ai = new GoogleGenAI({ apiKey: t.key, httpOptions: { baseUrl: t.url, retryOptions: { attempts: 1 } } });
      const chunks = await drain(await ai.models.generateContentStream({ model: t.model, contents: 'hello' }));
      assert.equal(chunks.map((c) => c.text ?? '').join(''), hello);
      assert.equal(chunks.at(-1).usageMetadata.totalTokenCount, 18);
      const chat = ai.chats.create({ model: t.model, config: { tools: [{ functionDeclarations: [{ name: 'get_weather', parametersJsonSchema: parameters }] }] } });
      const called = await chat.sendMessage({ message: 'weather' });
      assert.deepEqual(called.functionCalls[0].args, { city: 'Paris' });
      const { id, name } = called.functionCalls[0];
      const answer = await chat.sendMessage({ message: [{ functionResponse: { id, name, response: { output: 'sunny' } } }] });
      assert.equal(answer.text, told);
      await rejected(ai.models.generateContent({ model: t.model, contents: 'fail' }), ApiError, 429);
    });
  });
}
