// Asks over one HTTP/2 connection, by prior knowledge (http URL) or within a CONNECT tunnel (https URL, PROXY and CA in
// the environment): several streams at once, a body each, and writes one JSON line of what came.
import { readFileSync } from "node:fs";
import http from "node:http";
import http2 from "node:http2";
import tls from "node:tls";

const base = new URL(process.argv[2]);
const streams = Number(process.argv[3]);
const size = Number(process.argv[4]);

function tunnel() {
  const proxy = new URL(process.env.PROXY);
  return new Promise((resolve, reject) => {
    const connect = http.request({
      host: proxy.hostname,
      port: proxy.port,
      method: "CONNECT",
      path: `${base.hostname}:443`,
    });
    connect.on("connect", (_, socket) => {
      const secure = tls.connect({
        socket,
        servername: base.hostname,
        ca: readFileSync(process.env.CA),
        ALPNProtocols: ["h2"],
      });
      secure.on("secureConnect", () => resolve(secure));
      secure.on("error", reject);
    });
    connect.on("error", reject);
    connect.end();
  });
}

function ask(session, number) {
  return new Promise((resolve, reject) => {
    const stream = session.request({
      ":method": "POST",
      ":path": `${base.pathname}?number=${number}`,
      cookie: ["a=1", "b=2"],
    });
    const answer = { body: "" };
    stream.on("response", (headers) => (answer.status = headers[":status"]));
    stream.on("trailers", (headers) => (answer.trailers = { ...headers }));
    stream.setEncoding("utf8");
    stream.on("data", (piece) => (answer.body += piece));
    stream.on("end", () => resolve(answer));
    stream.on("error", reject);
    stream.end(Buffer.alloc(size, number % 256));
  });
}

const options = base.protocol === "https:" ? { createConnection: (socket => () => socket)(await tunnel()) } : {};
const session = http2.connect(base.origin, options);
const answers = await Promise.all(Array.from({ length: streams }, (_, number) => ask(session, number)));
await new Promise((resolve, reject) => session.ping((error, took) => (error ? reject(error) : resolve(took))));
session.close();
console.log(JSON.stringify(answers));
