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
    'without-sampling': { type: 'boolean', default: false },
    fetch: { type: 'boolean', default: false },
    'log-level': { type: 'string' },
    mode: { type: 'string' },
  },
});

export const capabilities = options['without-sampling'] ? {} : { sampling: {} };
export const isStreamable = new URL(url).pathname === '/mcp';
export const headers = options.token ? { Authorization: `Bearer ${options.token}` } : {};

export function report(event, details = {}) {
  process.stdout.write(`${JSON.stringify({ event, ...details })}\n`);
}

/** Answer one sampling request; `notify` sends a notification, `signal` says that the request was cancelled. */
export async function sample(params, signal, notify) {
  const said = params.messages.at(-1).content.text;
  report('sampling', {
    text: said, system: params.systemPrompt, metadata: params.metadata, messages: params.messages.length,
  });
  signal.addEventListener('abort', () => report('cancelled'));
  const answer = `You said: ${said}`;
  await sleep(1000 * Number(options.think), undefined, { signal });
  if (options.pieces) {
    const progressToken = params._meta.progressToken;
    // Not awaited one by one: this is how pieces come out of order.
    await Promise.all(answer.split(' ').map((word, index) => notify({
      method: 'notifications/progress',
      params: { progressToken, progress: index + 1, message: index ? ` ${word}` : word },
    })));
  }
  return { role: 'assistant', content: { type: 'text', text: answer }, model: 'echo' };
}

/** Say that the client is ready, do what was asked for, and live until killed or the input ends. */
export async function live(client) {
  client.onerror = (error) => report('error', { message: String(error) });
  client.onclose = () => report('closed');
  if (options['log-level']) await client.setLoggingLevel(options['log-level']);
  const { tools } = await client.listTools();
  report('ready', {
    tools: tools.map((tool) => tool.name).sort(),
    version: client.transport.protocolVersion,
    instructions: client.getInstructions(),
  });
  if (options.fetch) {
    const fetched = await client.callTool({ name: 'comms_get_waiting_messages', arguments: {} });
    report('tool', { result: fetched.structuredContent });
    const ids = fetched.structuredContent.messages.map((each) => each.id);
    const done = await client.callTool({ name: 'comms_acknowledge_messages', arguments: { ids } });
    report('tool', { result: done.structuredContent });
  }
  const input = createInterface({ input: process.stdin });
  input.on('close', () => process.exit(0));
  for await (const name of input) {
    try {
      report('tool', { result: (await client.callTool({ name, arguments: {} })).structuredContent });
    } catch (error) {
      report('error', { message: String(error) });
    }
  }
}
