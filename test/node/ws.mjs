// A WebSocket server for the scenarios. It echoes; "close CODE REASON" makes it
// close. GET /closes answers with the codes and reasons that clients closed with.

import { createServer } from 'node:http';
import { WebSocketServer } from 'ws';

const closes = [];
const server = createServer((req, res) => res.end(JSON.stringify(closes)));
const wss = new WebSocketServer({ server });
wss.on('connection', (ws) => {
  ws.on('message', (data, binary) => {
    const [word, code, ...reason] = binary ? [] : data.toString().split(' ');
    if (word === 'close') ws.close(Number(code), reason.join(' '));
    else ws.send(data, { binary });
  });
  ws.on('close', (code, reason) => closes.push({ Code: code, Reason: reason.toString() }));
  ws.on('error', () => ws.terminate());
});
server.listen(Number(process.env.PORT ?? 0), '127.0.0.1', 1024, () => {
  console.log(`listening on 127.0.0.1:${server.address().port}`);
});
