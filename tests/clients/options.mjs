// What every stock client of the tests can be told, and how it reports: shared by the TypeScript SDK ones.
// The Python ones have the same in options.py, which also says what a client does.

import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';

export const { values: options, positionals: [url] } = parseArgs({
  allowPositionals: true,
  options: {
    token: { type: 'string' },
    think: { type: 'string', default: '0' },
    pieces: { type: 'boolean', default: false },
    first: { type: 'string' },
    'without-sampling': { type: 'boolean', default: false },
    fetch: { type: 'boolean', default: false },
    converse: { type: 'boolean', default: false },
    'answer-calls': { type: 'boolean', default: false },
    'log-level': { type: 'string' },
    mode: { type: 'string' },
  },
});

export const capabilities = options['without-sampling'] ? {} : { sampling: {} };
export const isStreamable = new URL(url).pathname === '/mcp';
export const headers = options.token ? { Authorization: `Bearer ${options.token}` } : {};

const think = 1000 * Number(options.think);
const first = options.first === undefined ? think : 1000 * Number(options.first);

export function report(event, details = {}) {
  process.stdout.write(`${JSON.stringify({ event, ...details })}\n`);
}

function answerTo(said) {
  return `You said: ${said}`;
}

/** Answer one sampling request; `notify` sends a notification, `signal` says that the request was cancelled. */
export async function sample(params, signal, notify) {
  const said = params.messages.at(-1).content.text;
  report('sampling', {
    text: said, system: params.systemPrompt, metadata: params.metadata, messages: params.messages.length,
  });
  signal?.addEventListener('abort', () => report('cancelled'));
  const answer = answerTo(said);
  const pieces = options.pieces ? answer.split(' ').map((word, index) => (index ? ` ${word}` : word)) : [];
  const say = (piece, number) => notify({
    method: 'notifications/progress',
    params: { progressToken: params._meta.progressToken, progress: number, message: piece },
  });
  await sleep(first, undefined, { signal });
  const begun = pieces.length ? say(pieces[0], 1) : undefined;
  await sleep(think - first, undefined, { signal });
  // Not awaited one by one: this is how pieces come out of order.
  await Promise.all([begun, ...pieces.slice(1).map((piece, index) => say(piece, index + 2))]);
  return { role: 'assistant', content: { type: 'text', text: answer }, model: 'echo' };
}

async function converse(callTool) {
  let words = {};
  for (;;) {
    const heard = await callTool('comms_converse', words);
    report('heard', { result: heard });
    words = {};
    if (heard.caller !== undefined) {
      await sleep(think);
      words = { callSid: heard.callSid, turn: heard.turn, say: answerTo(heard.caller) };
    } else if (heard.error) {
      await sleep(1000);
    }
  }
}

async function tryTool(callTool, name) {
  try {
    const result = await callTool(name, {});
    report('tool', { result });
    return result;
  } catch (error) {
    report('error', { message: String(error) });
    return { error: 'lost' };
  }
}

async function answerCalls(callTool) {
  while (!(await tryTool(callTool, 'comms_answer_calls')).error);
}

/** Connect, say that the client is ready, do what was asked for, and live until killed or the input ends. */
export async function live(client, transport) {
  try {
    await client.connect(transport);
  } catch (error) {
    report('error', { message: String(error) });
    throw error;
  }
  client.onerror = (error) => report('error', { message: String(error) });
  client.onclose = () => report('closed');
  if (options['log-level']) await client.setLoggingLevel(options['log-level']);
  const { tools } = await client.listTools();
  report('ready', {
    tools: tools.map((tool) => tool.name).sort(),
    // The 1.x SDK tells it of Streamable HTTP only.
    version: client.getNegotiatedProtocolVersion?.() ?? transport.protocolVersion ?? transport._protocolVersion,
    instructions: client.getInstructions(),
  });
  const callTool = async (name, args) => (await client.callTool({ name, arguments: args })).structuredContent;
  if (options.fetch) {
    const fetched = await callTool('comms_get_waiting_messages', {});
    report('tool', { result: fetched });
    const ids = fetched.messages.map((each) => each.id);
    report('tool', { result: await callTool('comms_acknowledge_messages', { ids }) });
  }
  if (options.converse) converse(callTool);
  if (options['answer-calls']) answerCalls(callTool);
  const input = createInterface({ input: process.stdin });
  input.on('close', () => process.exit(0));
  for await (const name of input) tryTool(callTool, name);
}
