// A stock client on the TypeScript SDK 2.x, with the era of the protocol negotiated as --mode says (see options.py).

import { Client, SSEClientTransport, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { capabilities, headers, isStreamable, live, options, report, sample, url } from './options.mjs';

const mode = /^\d/.test(options.mode ?? '') ? { pin: options.mode } : options.mode;
const versionNegotiation = mode && { mode };
const client = new Client({ name: 'typescript2', version: '1' }, { capabilities, versionNegotiation });
if (!options['without-sampling']) {
  client.setRequestHandler('sampling/createMessage', (request, context) =>
    sample(request.params, context.mcpReq.signal, (notification) => context.mcpReq.notify(notification)));
}
for (const method of ['notifications/message', 'notifications/resources/updated']) {
  client.setNotificationHandler(method, (notification) => report('notification', notification));
}
const Transport = isStreamable ? StreamableHTTPClientTransport : SSEClientTransport;
await live(client, new Transport(new URL(url), { requestInit: { headers } }));
