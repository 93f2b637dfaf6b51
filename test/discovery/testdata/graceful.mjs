// A server that ends as a well-behaved app does: on SIGTERM it takes no new
// connections, answers what it has begun, and exits.
//
//   NAME  what it answers with
//   IDS   a file that gets a line for each X-Id that arrives at /count

import { openSync, writeSync } from 'node:fs';
import { createServer } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';

const ids = process.env.IDS && openSync(process.env.IDS, 'a');
const server = createServer(async (req, res) => {
  const url = new URL(req.url, 'http://app');
  if (url.pathname === '/count') writeSync(ids, `${req.headers['x-id']}\n`);
  req.resume();
  await sleep(Number(url.searchParams.get('ms') ?? 0));
  res.end(process.env.NAME);
});
server.listen(0, '127.0.0.1', () => console.log(`listening on 127.0.0.1:${server.address().port}`));
process.on('SIGTERM', () => {
  console.log('leaving');
  server.close(() => process.exit(0));
});
