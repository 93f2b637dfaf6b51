// A server that knows who may come in, as oauth2-proxy and its like are: a cookie
// lets in, programs are told so, and people are sent to a login.
//
//   /verify      the question
//   /_asked      how often it was asked, with what headers the last time, and who left before
//                he had an answer
//   /_mood?ms=N  how long it thinks
import { createServer } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';

let asked = 0, gone = 0, last = {}, ms = 0;

const server = createServer(async (req, res) => {
  const url = new URL(req.url, 'http://auth');
  if (url.pathname === '/_asked') return res.end(JSON.stringify({ asked, gone, last, sockets }));
  if (url.pathname === '/_mood') {
    ms = Number(url.searchParams.get('ms'));
    return res.end('{}');
  }
  asked += 1;
  res.on('close', () => { if (!res.writableFinished) gone += 1; });
  last = { method: req.method, url: req.url, ...req.headers };
  if (ms) await sleep(ms);
  if (res.destroyed) return;
  if (/session=good/.test(req.headers.cookie ?? '')) {
    res.writeHead(200, { 'X-User': 'alice', 'X-Roles': ['admin', 'dev'], 'X-Internal': 'secret' });
    return res.end('welcome'.repeat(1000));
  }
  if (req.headers.accept === 'application/json') {
    res.writeHead(401, { 'WWW-Authenticate': 'Bearer realm="auth"', 'Content-Type': 'application/json' });
    return res.end('{"error":"who are you?"}');
  }
  res.writeHead(302, { Location: `/login?rd=${encodeURIComponent(req.headers['x-forwarded-uri'])}`, 'Set-Cookie': ['seen=1; Path=/', 'b=2'] });
  res.end();
});
let sockets = 0;
server.on('connection', () => { sockets += 1; });
server.listen(Number(process.env.PORT ?? 0), '127.0.0.1', () => console.log(`listening on 127.0.0.1:${server.address().port}`));
