// A plain page with the manners of the web frontend that the gateway serves: what
// that one asks, in which order, and what it does with the answers. Whatever a
// missing field would show there ("undefined") shows here as well.

import { pipelines } from './pipelines.js';

const $ = (id) => document.getElementById(id);
const newTitle = 'New conversation';
const pollEvery = 3000;

// What a test may set: milliseconds until a new conversation is read again, and
// whether the page stores the first answer too, as it does the later ones.
const knobs = { rereadAfter: 0, storeFirst: false };
globalThis.knobs = knobs;

const state = { tokens: null, specialists: [], conversations: [], current: null, poll: 0 };

// --- calls ---

async function call(path, method = 'GET', body = undefined) {
  const headers = { 'Content-Type': 'application/json' };
  if (state.tokens) headers.Authorization = `Bearer ${state.tokens.access_token}`;
  return fetch(path, { method, headers, body: body && JSON.stringify(body) });
}

async function read(response) {
  const body = await response.json();
  if (!response.ok) throw Object.assign(new Error(body.error || body.detail), { status: response.status });
  return body;
}

/** A call; one that is refused as 401 is made again with new tokens, once. */
async function api(path, method, body) {
  let response = await call(path, method, body);
  if (response.status === 401 && await refresh()) response = await call(path, method, body);
  if (response.status === 401) signedOut();
  return read(response);
}

let refreshing = null; // one refresh at a time, however many calls ask for it

function refresh() {
  refreshing ??= call('/auth/refresh', 'POST', { refresh_token: state.tokens?.refresh_token })
    .then(read).then(keep).then(() => true, () => false).finally(() => { refreshing = null; });
  return refreshing;
}

// --- signing in and out ---

function keep({ access_token, refresh_token, token_type, email }) {
  state.tokens = { access_token, refresh_token, token_type, email };
  localStorage.setItem('tokens', JSON.stringify(state.tokens));
}

async function signIn(event) {
  event.preventDefault();
  try {
    keep(await read(await call('/auth/login', 'POST', { email: event.target.elements.email.value })));
  } catch (problem) {
    say(problem.message); // "Check your inbox for a sign-in link" is one of them
    return;
  }
  await start();
}

/** Comes back from a mailed link or from a provider: /portal/?code=…&state=NAME:… */
async function comeBack(query) {
  history.replaceState(null, '', '/portal/');
  const [provider] = query.get('state').split(':');
  try {
    keep(await read(await call(`/auth/${provider}/callback`, 'POST', { code: query.get('code'), state: query.get('state') })));
  } catch (problem) {
    say(problem.message);
  }
}

async function signOut() {
  await call('/auth/logout', 'POST', { refresh_token: state.tokens.refresh_token }).then(read).then(({ logged_out }) => say(`logged out: ${logged_out}`));
  signedOut();
}

// Tabs share what is stored, but this page looks at that at its start only: what
// logs another tab out here is the gateway's answer.
function signedOut() {
  clearTimeout(state.poll);
  Object.assign(state, { tokens: null, conversations: [], current: null });
  localStorage.removeItem('tokens');
  show();
}

async function start() {
  const { email, name, role } = await api('/auth/me');
  $('who').textContent = `${name} <${email}> ${role}`;
  ({ specialists: state.specialists } = await api('/specialists/'));
  $('specialists').replaceChildren(...state.specialists.map(({ id, name, description }) => new Option(`${name}: ${description}`, id)));
  show();
  await poll();
  const [, uuid] = location.pathname.match(/^\/portal\/c\/(.+)$/) ?? [];
  if (uuid) await open(uuid);
  const [, run] = location.pathname.match(/^\/portal\/r\/(.+)$/) ?? [];
  if (run) follow(run);
}

// --- conversations ---

async function poll() {
  clearTimeout(state.poll);
  ({ conversations: state.conversations } = await api('/conversations/'));
  show();
  if (state.conversations.some(({ title }) => title === newTitle)) state.poll = setTimeout(poll, pollEvery);
}

async function open(uuid) {
  state.current = await api(`/conversations/${uuid}`);
  history.replaceState(null, '', `/portal/c/${uuid}`);
  show();
}

function startAnew() {
  state.current = null;
  history.replaceState(null, '', '/portal/');
  show();
}

async function send(event) {
  event.preventDefault();
  const { text } = event.target.elements;
  const message = text.value;
  text.value = '';
  const specialist = state.specialists.find(({ id }) => id === $('specialists').value);
  const isNew = !state.current;
  if (isNew) {
    const { provider, model, id } = specialist;
    const made = await api('/conversations/', 'POST', { provider, model, mode: 'specialist', specialist_id: id });
    state.current = { ...made, messages: [] };
    history.replaceState(null, '', `/portal/c/${made.uuid}`);
  }
  const conversation = state.current;
  const path = `/conversations/${conversation.uuid}`;
  const conversation_history = conversation.messages.map(({ role, content }) => ({ role, content }));
  conversation.messages.push({ role: 'user', content: message }, { role: 'assistant', content: '' });
  show();

  // All at once, as the real page does: it stores the question, asks it, and reads
  // the new conversation again because its address has changed.
  const stored = api(`${path}/messages`, 'POST', { role: 'user', content: message });
  const streamed = stream('/chat/stream', { specialist_id: specialist.id, message, conversation_history, attachments: [] }, (chunk) => append(conversation, chunk));
  if (isNew) setTimeout(() => reread(conversation).catch(report), knobs.rereadAfter);
  conversation.title = (await stored).conversation_title;
  show();
  await poll();
  const answer = await streamed;
  if (answer && (knobs.storeFirst || !isNew)) {
    const { model, input_tokens, output_tokens, cost_usd } = answer;
    await api(`${path}/messages`, 'POST', { role: 'assistant', content: answer.content, model, input_tokens, output_tokens, cost_usd });
  }
  $('composer').dataset.sent = message; // for who waits for it
}

/** Replaces what is shown by what is stored. */
async function reread(conversation) {
  const path = `/conversations/${conversation.uuid}`;
  const { messages } = await api(path);
  await new Promise((resolve) => setTimeout(resolve)); // a page renders when its framework gets round to it
  conversation.messages = messages;
  show();
  const came = performance.getEntriesByName(new URL(path, location).href).at(-1);
  if (came) lag = Math.max(lag, performance.now() - came.responseStart);
}

/** Adds a chunk to the last answer; without one it is lost. */
function append(conversation, { content, is_final, model, latency_ms, cost_usd, input_tokens, output_tokens }) {
  const last = conversation.messages.at(-1);
  if (last?.role !== 'assistant') return;
  last.content += content;
  if (is_final) last.meta = `${model} · ${input_tokens} + ${output_tokens} tokens · ${latency_ms} ms · $${cost_usd}`;
  show();
}

/** Reads a stream of events to its end and gives its text and last chunk. */
async function stream(path, question, each) {
  const response = await call(path, 'POST', question);
  if (!response.ok) return read(response).catch((problem) => say(problem.message)); // streams do not refresh
  let rest = '', content = '', final;
  for (const reader = response.body.pipeThrough(new TextDecoderStream()).getReader(); ;) {
    const { done, value } = await reader.read();
    if (done) return { ...final, content };
    const lines = (rest + value).split('\n');
    rest = lines.pop();
    for (const line of lines.filter((line) => line.startsWith('data: '))) {
      const chunk = JSON.parse(line.slice(6));
      content += chunk.content;
      if (chunk.is_final) final = chunk;
      each(chunk);
    }
  }
}

// --- chat over a WebSocket ---

const live = { socket: null, open: null, answers: new Map(), last: 0 };

function connect() {
  live.open ??= new Promise((resolve, reject) => {
    const socket = new WebSocket(`ws://${location.host}/chat/ws`);
    live.socket = socket;
    socket.onopen = () => {
      socket.send(JSON.stringify({ type: 'auth', token: state.tokens.access_token }));
      resolve(socket);
    };
    socket.onmessage = ({ data }) => liveChunk(JSON.parse(data));
    socket.onclose = ({ code, reason }) => {
      live.open = null;
      $('live').dataset.closed = `${code} ${reason}`;
      reject(new Error(reason));
    };
  });
  return live.open;
}

async function sendLive(event) {
  event.preventDefault();
  const { text } = event.target.elements;
  const socket = await connect();
  const id = `q${++live.last}`;
  const item = document.createElement('li');
  $('live').append(item);
  live.answers.set(id, item);
  socket.send(JSON.stringify({ id, specialist_id: $('specialists').value, message: text.value, conversation_history: [] }));
  text.value = '';
}

function liveChunk(chunk) {
  const item = live.answers.get(chunk.id);
  if (!item) return;
  item.append(`${chunk.content}`);
  if (chunk.is_final) item.dataset.final = JSON.stringify(chunk);
}

function cancel() {
  live.socket.send(JSON.stringify({ type: 'cancel', id: `q${live.last}` }));
}

// --- usage ---

async function usage() {
  const { logs } = await api('/usage/logs?limit=50');
  $('rows').replaceChildren(...logs.map((l) => {
    const row = document.createElement('tr');
    const shown = [l.timestamp, l.specialist_name, l.provider, l.model, l.input_tokens, l.output_tokens, l.cost_usd, l.estimated_cost_usd, l.latency_ms, l.success];
    row.append(...shown.map((value) => Object.assign(document.createElement('td'), { textContent: `${value}` })));
    return row;
  }));
  $('summary').textContent = JSON.stringify(await api('/usage/summary?group_by=model'));
}

// --- showing ---

function say(text) { $('notice').textContent = `${text}`; }

function report(problem) { say(problem.message); }

function show() {
  $('login').hidden = Boolean(state.tokens);
  $('app').hidden = !state.tokens;
  $('title').textContent = state.current ? `${state.current.title}` : '';
  $('conversations').replaceChildren(...state.conversations.map(({ uuid, title, preview, message_count }) => {
    const item = document.createElement('li');
    item.append(`${title} (${message_count}) ${preview}`);
    item.dataset.uuid = uuid;
    item.onclick = () => open(uuid).catch(report);
    return item;
  }));
  $('messages').replaceChildren(...(state.current?.messages ?? []).map(({ role, content, meta }) => {
    const item = document.createElement('li');
    item.className = role;
    item.append(`${content}`);
    if (meta) item.append(Object.assign(document.createElement('span'), { className: 'meta', textContent: meta }));
    return item;
  }));
}

// How late this page was at its worst since it was asked last, in milliseconds: of
// a browser that starves, a test can tell nothing.
let lag = 0, ticked = performance.now();
setInterval(() => { lag = Math.max(lag, performance.now() - ticked - 10); ticked = performance.now(); }, 10);
globalThis.worstLag = () => [lag, lag = 0][0];

const { follow } = pipelines({ api, report, token: () => state.tokens.access_token });
const does = (action) => (event) => action(event).catch(report);
$('login').onsubmit = does(signIn);
$('logout').onclick = does(signOut);
$('new').onclick = startAnew;
$('composer').onsubmit = does(send);
$('socket').onsubmit = does(sendLive);
$('cancel').onclick = cancel;
$('usage').onclick = does(usage);

const query = new URLSearchParams(location.search);
if (query.has('code')) await comeBack(query);
else state.tokens = JSON.parse(localStorage.getItem('tokens'));
show();
if (state.tokens) await start().catch(report);
document.body.dataset.ready = 'yes';
