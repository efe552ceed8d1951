// A small client of the Language Server Protocol: it starts a server and speaks to it over stdio.
import { spawn } from 'node:child_process';

// How many last characters of the server's stderr an error may show.
const STDERR_KEPT = 4000;

export class Client {
  #process;
  #settings;
  #buffer = Buffer.alloc(0);
  #nextId = 1;
  #requests = new Map(); // id -> { resolve, reject }
  #waiting = new Map(); // uri -> { resolve, reject } of its first diagnostics
  #stderr = '';
  #ended = null; // why the server is gone
  #asked;
  // Fulfilled when the server has asked for its settings and got them.
  configured = new Promise((resolve) => (this.#asked = resolve));

  // Starts `node SCRIPT --stdio`; `settings` answers what the server asks for by section.
  constructor(script, settings) {
    this.#settings = settings;
    this.#process = spawn(process.execPath, [script, '--stdio'], { stdio: 'pipe' });
    this.#process.stdout.on('data', (bytes) => this.#read(bytes));
    this.#process.stderr.on('data', (bytes) => {
      this.#stderr = (this.#stderr + bytes).slice(-STDERR_KEPT);
    });
    this.#process.stdin.on('error', (error) => this.#end(`its stdin is closed: ${error.message}`));
    this.#process.on('error', (error) => this.#end(`it did not start: ${error.message}`));
    this.#process.on('exit', (code, signal) => this.#end(`it ended with ${signal ?? code}`));
  }

  // Sends a request and returns the result that comes back.
  request(method, params) {
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      if (this.#ended) return reject(this.#ended);
      this.#requests.set(id, { resolve, reject });
      this.#send({ id, method, params });
    });
  }

  notify(method, params) {
    this.#send({ method, params });
  }

  // Opens a document and returns the diagnostics that the server publishes for it.
  open(uri, text) {
    return new Promise((resolve, reject) => {
      if (this.#ended) return reject(this.#ended);
      this.#waiting.set(uri, { resolve, reject });
      this.notify('textDocument/didOpen', {
        textDocument: { uri, languageId: 'yaml', version: 1, text },
      });
    });
  }

  // Ends the server as the protocol wants it, and waits until it is gone.
  async close() {
    const gone = new Promise((resolve) => this.#process.once('exit', resolve));
    await this.request('shutdown');
    this.notify('exit');
    await gone;
  }

  get ended() {
    return this.#ended !== null;
  }

  kill() {
    this.#process.kill('SIGKILL');
  }

  #send(message) {
    const body = Buffer.from(JSON.stringify({ jsonrpc: '2.0', ...message }));
    this.#process.stdin.write(`Content-Length: ${body.length}\r\n\r\n`);
    this.#process.stdin.write(body);
  }

  // Takes whole messages from what has arrived: a header with the length in bytes, then JSON.
  #read(bytes) {
    this.#buffer = Buffer.concat([this.#buffer, bytes]);
    for (;;) {
      const headerEnd = this.#buffer.indexOf('\r\n\r\n');
      if (headerEnd < 0) return;
      const header = this.#buffer.toString('ascii', 0, headerEnd);
      const length = Number(/^Content-Length: *(\d+)/im.exec(header)?.[1]);
      const start = headerEnd + 4;
      if (!Number.isInteger(length)) return this.#end(`a header has no length: ${header}`);
      if (this.#buffer.length < start + length) return;
      const message = JSON.parse(this.#buffer.toString('utf8', start, start + length));
      this.#buffer = this.#buffer.subarray(start + length);
      this.#take(message);
    }
  }

  #take(message) {
    const { id, method, params } = message;
    if (method === undefined) {
      const request = this.#requests.get(id);
      this.#requests.delete(id);
      if (message.error) request?.reject(new Error(`the server says: ${message.error.message}`));
      else request?.resolve(message.result);
    } else if (id !== undefined) {
      // A request of the server. All but the one for settings need no more than an answer.
      const result =
        method === 'workspace/configuration'
          ? params.items.map((item) => this.#settings[item.section] ?? null)
          : null;
      this.#send({ id, result });
      if (method === 'workspace/configuration') this.#asked();
    } else if (method === 'textDocument/publishDiagnostics') {
      this.#waiting.get(params.uri)?.resolve(params.diagnostics);
      this.#waiting.delete(params.uri);
    }
  }

  // Everything that waits for the server fails when it is gone.
  #end(why) {
    if (this.#ended) return;
    this.#ended = new Error(`the language server: ${why}\n${this.#stderr}`);
    for (const waiting of [this.#requests, this.#waiting]) {
      for (const { reject } of waiting.values()) reject(this.#ended);
      waiting.clear();
    }
  }
}
