// A stock client on the TypeScript SDK 1.x: see options.mjs for what it does.

import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { SSEClientTransport } from '@modelcontextprotocol/sdk/client/sse.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import {
  CreateMessageRequestSchema, LoggingMessageNotificationSchema, ResourceUpdatedNotificationSchema,
} from '@modelcontextprotocol/sdk/types.js';
import { capabilities, headers, isStreamable, live, options, report, sample, url } from './options.mjs';

const client = new Client({ name: 'typescript1', version: '1' }, { capabilities });
if (!options['without-sampling']) {
  client.setRequestHandler(CreateMessageRequestSchema, (request, extra) =>
    sample(request.params, extra.signal, (notification) => extra.sendNotification(notification)));
}
for (const schema of [LoggingMessageNotificationSchema, ResourceUpdatedNotificationSchema]) {
  client.setNotificationHandler(schema, (notification) => report('notification', notification));
}
const Transport = isStreamable ? StreamableHTTPClientTransport : SSEClientTransport;
await live(client, new Transport(new URL(url), { requestInit: { headers } }));
