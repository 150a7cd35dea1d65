// The official Google GenAI client, unmodified but for base URL and key, against
// every kind of provider. Started by ../sdk_test.go.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { ApiError, FunctionCallingConfigMode, GoogleGenAI } from '@google/genai';
import { described, drain, pdf, pdfBytes, png, pngBytes, rejected, targets, usage } from './targets.js';

for (const t of targets) {
  const client = (apiKey = t.key) => new GoogleGenAI({ apiKey, httpOptions: { baseUrl: t.url + t.gemini, retryOptions: { attempts: 1 } } });
  const ai = client();
  const ask = (contents, config = {}, model = t.model) => ai.models.generateContent({ model, contents, config });
  const stream = (contents, config = {}, model = t.model) => ai.models.generateContentStream({ model, contents, config });
  const city = { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] };
  const declarations = [
    { name: 'get_weather', description: 'Tells the weather.', parametersJsonSchema: city },
    { name: 'get_time', parametersJsonSchema: { type: 'object', properties: {} } },
  ];
  const answerTo = ({ name, args }) => (name === 'get_time' ? '12:00' : `sunny in ${args.city}`);
  /** A tool that the client runs by itself. */
  const callable = (asked = []) => ({
    tool: async () => ({ functionDeclarations: declarations }),
    callTool: async (calls) => calls.map((c) => {
      asked.push(c.args.city);
      return { functionResponse: { id: c.id, name: c.name, response: { output: answerTo(c) } } };
    }),
  });
  const loop = '#tools get_weather {"city":"Paris"} | get_weather {"city":"Rome"}\n#tool get_time';
  const told = 'get_weather: sunny in Paris; get_weather: sunny in Rome; get_time: 12:00';

  describe(`generateContent, ${t.name}`, () => {
    test('plain', async () => {
      const answer = await ask('say: one two three', { systemInstruction: 'Be brief.' });
      assert.equal(answer.text, 'one two three');
      assert.equal(answer.candidates[0].finishReason, 'STOP');
      assert.equal(answer.usageMetadata.promptTokenCount, usage.input);
      assert.equal(answer.usageMetadata.candidatesTokenCount, usage.output);
      assert.equal((await ask('#echo-system', { systemInstruction: 'Be brief.' })).text, 'Be brief.');
      assert.equal((await ask('#cache')).usageMetadata.cachedContentTokenCount, usage.cacheRead);
    });

    test('stream', async () => {
      const chunks = await drain(await stream('say: one two three'));
      assert.deepEqual(chunks.map((c) => c.text).filter(Boolean), ['one ', 'two ', 'three']);
      assert.equal(chunks.at(-1).candidates[0].finishReason, 'STOP');
      assert.equal(chunks.at(-1).usageMetadata.totalTokenCount, usage.input + usage.output);
    });

    test('automatic function calling', async () => {
      const asked = [];
      const answer = await ask(loop, { tools: [callable(asked)] });
      assert.equal(answer.text, told);
      assert.deepEqual(asked, ['Paris', 'Rome', undefined]);
    });

    test('automatic function calling, streamed', async () => {
      const chunks = await drain(await stream(loop, { tools: [callable()] }));
      assert.equal(chunks.map((c) => c.text ?? '').join(''), told);
    });

    test('thinking over a tool loop in a chat', async () => {
      const chat = ai.chats.create({
        model: t.thinker, config: { tools: [{ functionDeclarations: declarations }], thinkingConfig: { includeThoughts: true, thinkingBudget: 1024 } },
      });
      let answer = await chat.sendMessage({ message: loop });
      for (let step = 0; step < 4 && answer.functionCalls; step++) {
        answer = await chat.sendMessage({
          message: answer.functionCalls.map((c) => ({ functionResponse: { id: c.id, name: c.name, response: { output: answerTo(c) } } })),
        });
      }
      assert.equal(answer.text, told);
      const thoughts = answer.candidates[0].content.parts.filter((p) => p.thought).map((p) => p.text);
      assert.deepEqual(thoughts, ['Step 3: let me think it over.']);
      assert.equal(answer.usageMetadata.thoughtsTokenCount, usage.reasoning);
    });

    test('thinking over a tool loop in a chat, streamed', async () => {
      const chat = ai.chats.create({
        model: t.thinker, config: { tools: [{ functionDeclarations: declarations }], thinkingConfig: { includeThoughts: true, thinkingBudget: 1024 } },
      });
      let message = loop;
      let text = '';
      for (let step = 0; step < 4; step++) {
        const chunks = await drain(await chat.sendMessageStream({ message }));
        text = chunks.map((c) => c.text ?? '').join('');
        const calls = chunks.flatMap((c) => c.functionCalls ?? []);
        if (calls.length === 0) break;
        message = calls.map((c) => ({ functionResponse: { id: c.id, name: c.name, response: { output: answerTo(c) } } }));
      }
      assert.equal(text, told);
    });

    test('JSON schema', async () => {
      const answer = await ask('#json', { responseMimeType: 'application/json', responseJsonSchema: city });
      assert.deepEqual(JSON.parse(answer.text), { city: 'Paris' });
      const typed = await ask('#json', {
        responseMimeType: 'application/json', responseSchema: { type: 'OBJECT', properties: { population: { type: 'INTEGER' } } },
      });
      assert.deepEqual(JSON.parse(typed.text), { population: 42 });
    });

    test('image and PDF', async () => {
      const answer = await ask([{ role: 'user', parts: [
        { text: '#describe' }, { inlineData: { mimeType: 'image/png', data: png } }, { inlineData: { mimeType: 'application/pdf', data: pdf } },
      ] }]);
      assert.deepEqual(described(answer.text).items.slice(1), [
        { role: 'user', kind: 'image', mime: 'image/png', bytes: pngBytes },
        { role: 'user', kind: 'document', mime: 'application/pdf', bytes: pdfBytes },
      ]);
    });

    test('conversation and sampling', async () => {
      const answer = await ask(
        [{ role: 'user', parts: [{ text: 'hello' }] }, { role: 'model', parts: [{ text: 'hi' }] }, { role: 'user', parts: [{ text: '#describe' }] }],
        { temperature: 0.5, maxOutputTokens: 2000, stopSequences: ['END'] },
      );
      assert.deepEqual(described(answer.text), {
        items: [
          { role: 'user', kind: 'text', text: 'hello' }, { role: 'assistant', kind: 'text', text: 'hi' },
          { role: 'user', kind: 'text', text: '#describe' },
        ],
        temperature: 0.5, max_tokens: 2000, stop: ['END'],
      });
    });

    test('finish reasons', async () => {
      assert.equal((await ask('#long', { maxOutputTokens: 16 })).candidates[0].finishReason, 'MAX_TOKENS');
      assert.equal((await ask('#refuse')).candidates[0].finishReason, 'SAFETY');
    });

    test('tool choice', async () => {
      const answer = await ask('hello', {
        tools: [{ functionDeclarations: declarations }],
        toolConfig: { functionCallingConfig: { mode: FunctionCallingConfigMode.ANY, allowedFunctionNames: ['get_weather'] } },
      });
      assert.deepEqual(answer.functionCalls.map(({ name, args }) => ({ name, args })), [{ name: 'get_weather', args: { city: 'Paris' } }]);
    });

    test('citation', async () => {
      const answer = await ask('#cite');
      assert.equal(answer.candidates[0].groundingMetadata.groundingChunks[0].web.uri, 'https://example.com/paris');
    });

    test('token count', async () => {
      const count = await ai.models.countTokens({ model: t.model, contents: 'hello' });
      assert.ok(count.totalTokens > 0);
      if (t.kind !== 'openai_chat') assert.equal(count.totalTokens, usage.counted);
    });

    test('models', async () => {
      const names = (await drain(await ai.models.list())).map((m) => m.name);
      assert.ok(names.length > 0);
      assert.equal((await ai.models.get({ model: names[0] })).name, names[0]);
      await rejected(ai.models.get({ model: 'no-such-model' }), ApiError, 404);
    });

    test('embeddings', { skip: !t.embedder }, async () => {
      const answer = await ai.models.embedContent({ model: t.embedder, contents: ['one', 'three'], config: { outputDimensionality: 3 } });
      assert.deepEqual(answer.embeddings.map((e) => e.values), [[3, 0.5, -1], [5, 0.5, -1]]);
      const one = await ai.models.embedContent({ model: t.embedder, contents: 'one' });
      assert.deepEqual(one.embeddings.map((e) => e.values), [[3, 0.5, -1]]);
    });

    test('errors', async () => {
      await rejected(ask('#error 400'), ApiError, 400);
      await rejected(ask('#error 429'), ApiError, 429);
      const broken = await rejected(ask('#error 500'), ApiError);
      assert.ok(broken.status >= 500);
      await rejected(ask('hi', {}, 'no-such-model'), ApiError, 404);
      const wrong = await rejected(client('wrong').models.generateContent({ model: t.model, contents: 'hi' }), ApiError);
      assert.ok([400, 401].includes(wrong.status), String(wrong.status));
      if (!t.direct) assert.doesNotMatch(broken.message, /secret123/);
    });

    test('a broken stream raises', async () => {
      for (const fault of ['#midstream-error', '#cut', '#cut clean']) {
        let finished;
        const read = stream(`${fault}\nsay: one two three four`).then(async (chunks) => {
          for await (const c of chunks) finished ??= c.candidates?.[0]?.finishReason;
        });
        // The SDK cannot tell a stream that ends early from a whole one but by its
        // finish reason.
        if (t.direct && fault === '#cut clean') await read;
        else await rejected(read, Error);
        assert.equal(finished, undefined, fault);
      }
    });
  });
}
