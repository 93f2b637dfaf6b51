// Says of each request what Node's own parser made of it: its method, its target
// and the length of its body. It runs until it is killed.
import http from 'node:http';

const server = http.createServer({ maxHeaderSize: 128 << 10, requestTimeout: 0, keepAliveTimeout: 0 }, (req, res) => {
  let length = 0;
  req.on('data', (part) => { length += part.length; });
  req.on('end', () => {
    res.setHeader('X-Seen', `${req.method} ${req.url} ${length}`);
    res.end();
  });
});
server.listen(0, '127.0.0.1', () => console.log(`listening on 127.0.0.1:${server.address().port}`));
