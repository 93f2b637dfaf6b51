// A server that ends as a well-behaved app does: on SIGTERM it takes no new
// connections, answers what it has begun, and exits. It answers with NAME after
// `ms` milliseconds.

import { createServer } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';

const stats = { begun: 0 }; // requests that take a second or more

const server = createServer(async (req, res) => {
  const url = new URL(req.url, 'http://app');
  if (url.pathname === '/_stats') return res.end(JSON.stringify(stats));
  const ms = Number(url.searchParams.get('ms') ?? 0);
  if (ms >= 1000) stats.begun += 1;
  req.resume();
  await sleep(ms);
  res.end(process.env.NAME);
});
server.listen(0, '127.0.0.1', () => console.log(`listening on 127.0.0.1:${server.address().port}`));
process.on('SIGTERM', () => server.close(() => process.exit(0)));
