// Shows that an editor completes, explains and checks pipeline files by their JSON Schema: it opens
// documents in the real YAML language server and looks at what comes back.
//
//   npm ci --prefix tests/editor && node tests/editor/check.mjs [SCHEMA]
//
// Without SCHEMA it takes schemas/pipeline.schema.json. It also asks for what makes editing
// pleasant: keys that are completed with their colon, hovers in Markdown, one message for a mistake.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

import { Client } from './client.mjs';

const DEADLINE_MS = 60_000;
const KEY = 10; // CompletionItemKind.Property
const CURSOR = '@@';

const here = path.dirname(fileURLToPath(import.meta.url));
const project = path.resolve(here, '../..');
const script = path.join(here, 'node_modules/yaml-language-server/bin/yaml-language-server');
const given = process.argv.slice(2).find((argument) => !argument.startsWith('--'));
const schemaPath = path.resolve(given ?? path.join(project, 'schemas/pipeline.schema.json'));
const schema = JSON.parse(fs.readFileSync(schemaPath, 'utf8'));
const workspace = fs.mkdtempSync(path.join(os.tmpdir(), 'pipeline-editor-'));

// ---------------------------------------------------------------------------------- the server

let client;

async function start() {
  if (!fs.existsSync(script)) throw new Error('no server; run: npm ci --prefix tests/editor');
  client = new Client(script, {
    yaml: {
      validate: true,
      hover: true,
      completion: true,
      schemaStore: { enable: false }, // nothing from the network
      kubernetesCRDStore: { enable: false },
    },
  });
  const uri = pathToFileURL(workspace).href;
  await client.request('initialize', {
    processId: process.pid,
    rootUri: uri,
    workspaceFolders: [{ uri, name: 'workspace' }],
    capabilities: {
      workspace: { configuration: true, workspaceFolders: true },
      textDocument: {
        completion: {
          completionItem: { snippetSupport: true, documentationFormat: ['markdown', 'plaintext'] },
        },
        hover: { contentFormat: ['markdown'] },
        publishDiagnostics: {},
      },
    },
  });
  client.notify('initialized', {});
  await client.configured;
}

let documents = 0;

// Opens a text in the workspace, under a modeline; CURSOR in it is where the user is.
async function open(text, modeline = schemaPath) {
  const whole = `# yaml-language-server: $schema=${modeline}\n${text}`;
  const [before] = whole.split(CURSOR);
  const lines = before.split('\n');
  const position = { line: lines.length - 1, character: lines.at(-1).length };
  const uri = pathToFileURL(path.join(workspace, `document_${documents++}.yaml`)).href;
  const diagnostics = await client.open(uri, whole.replace(CURSOR, ''));
  return { lines: whole.split('\n'), diagnostics, at: { textDocument: { uri }, position } };
}

// ------------------------------------------------------------------------------------ the cases

const cases = [];

function check(name, run) {
  cases.push({ name, run });
}

function show(received) {
  return `\nreceived: ${JSON.stringify(received, null, 2)}`;
}

function fits(name, text, modeline) {
  check(`no complaint: ${name}`, async () => {
    const { diagnostics } = await open(text, modeline);
    assert.equal(diagnostics.length, 0, show(diagnostics));
  });
}

// A file of the project, where it is, with a modeline that names the schema.
function fileFits(file) {
  check(`no complaint: ${path.relative(project, file)}`, async () => {
    const text = fs.readFileSync(file, 'utf8').replace(/^# yaml-language-server:.*\n/, '');
    const modeline = path.relative(path.dirname(file), schemaPath);
    const uri = pathToFileURL(file).href;
    const diagnostics = await client.open(
      uri,
      `# yaml-language-server: $schema=${modeline}\n${text}`,
    );
    assert.equal(diagnostics.length, 0, show(diagnostics));
  });
}

// Wants a complaint that begins on the line with `mark` (or with one of several), and none on other
// lines. `message` is what it must say, `count` how many there may be.
function flags(name, text, mark, { message = /./, count } = {}) {
  check(`complaint: ${name}`, async () => {
    const { diagnostics, lines } = await open(text);
    const marks = [mark].flat();
    const right = ({ range: { start } }) =>
      start.line > 0 && marks.some((each) => lines[start.line].includes(each));
    const told = show(diagnostics);
    assert.ok(diagnostics.length > 0, `there is none${told}`);
    assert.ok(diagnostics.every(right), `one is not on the line of ${marks.join(' or ')}${told}`);
    assert.ok(
      diagnostics.some((each) => message.test(each.message)),
      `none says ${message}${told}`,
    );
    if (count) assert.equal(diagnostics.length, count, `there should be ${count}${told}`);
  });
}

// Every description in the schema; what a completed key says must be one of them.
const descriptions = new Set();
(function collect(value) {
  if (value === null || typeof value !== 'object') return;
  for (const key of ['description', 'markdownDescription']) {
    if (typeof value[key] === 'string') descriptions.add(value[key]);
  }
  Object.values(value).forEach(collect);
})(schema);

function documentation(item) {
  return item.documentation?.value ?? item.documentation ?? '';
}

// Wants all of `labels` at the cursor, and none of `not`.
function completes(name, text, labels, { not = [], words = false } = {}) {
  check(`completion: ${name}`, async () => {
    const { at } = await open(text);
    const { items } = await client.request('textDocument/completion', at);
    const told = show(items);
    for (const label of labels) {
      const item = items.find((each) => each.label === label && (words || each.kind === KEY));
      assert.ok(item, `\`${label}\` is not offered${told}`);
      assert.ok(documentation(item) !== '', `\`${label}\` has no documentation${told}`);
    }
    for (const label of not) {
      assert.ok(!items.some((each) => each.label === label), `\`${label}\` is offered${told}`);
    }
    for (const item of words ? [] : items.filter(({ kind }) => kind === KEY)) {
      // At a free name the server offers a placeholder, which has no description of its own.
      assert.ok(
        descriptions.has(documentation(item)),
        `\`${item.label}\` does not say what the schema does${told}`,
      );
      // Nobody asked for the values that hold anyway.
      assert.doesNotMatch(
        item.insertText,
        /\n.*(true|false)/,
        `\`${item.label}\` brings defaults${told}`,
      );
      // Inside of braces the server leaves the colon out itself.
      if (!text.includes(`{`)) {
        assert.match(
          item.insertText,
          /^\w+:/,
          `\`${item.label}\` is inserted without a colon${told}`,
        );
      }
    }
  });
}

// The text of a hover or of a description without what Markdown adds to it.
function plain(text) {
  return text.replaceAll('\\', '').replace(/\s+/g, ' ').trim();
}

// Wants the description over the key at the cursor.
function explains(name, text, description, also = []) {
  check(`hover: ${name}`, async () => {
    const { at } = await open(text);
    const hover = await client.request('textDocument/hover', at);
    const contents = hover?.contents?.value ?? '';
    assert.ok(description, 'the schema has no such description');
    for (const part of [description, ...also]) {
      assert.ok(plain(contents).includes(plain(part)), `it does not say: ${part}${show(hover)}`);
    }
    assert.ok(!contents.includes('\\`'), `its Markdown is shown as text${show(hover)}`);
  });
}

// ------------------------------------------------------------------------------------ the texts

const HEAD = 'version: 1\nname: x\n';
const SOURCE = 'sources:\n  a:\n    csv: { path: ./a.csv }\n';
const BASE = HEAD + SOURCE;
const node = (lines) => HEAD + 'sources:\n  node_id:\n' + lines;
const sink = (lines) => BASE + 'sinks:\n  node_id:\n' + lines;
const transform = (lines) => BASE + 'transforms:\n  node_id:\n' + lines;
const WHOLE = `${BASE}transforms:
  t:
    from: a
    validate:
      - { name: n, that: b is not null, otherwise: warn, at_most: 5% }
  u: { from: t, deduplicate: { by: [b], prefer: [c desc] } }
  v: { sql: select * from u }
sinks:
  s: { from: [v, t.rejected], sqlite: { table: t }, write: upsert, key: b, missing: mark_gone }
`;
const FRAGMENT = 'version: 1\nfragment: x\ninputs: { a: { b: string } }\noutputs: [t]\n';
const { definitions = {} } = schema;
// The description of a definition, or of one of its keys.
const about = (name, key) =>
  (key === undefined ? definitions[name] : definitions[name]?.properties?.[key])?.description;

// 1. What is right.
fits('a pipeline', WHOLE);
fits('a pipeline whose modeline has a relative path', WHOLE, path.relative(workspace, schemaPath));
fits('a fragment', `${FRAGMENT}transforms:\n  t: { from: a, filter: b > 1 }\n`);
for (const folder of [
  'pipelines',
  'pipelines/shared',
  ...fs.readdirSync(path.join(project, 'examples')).map((name) => `examples/${name}`),
]) {
  const whole = path.join(project, folder);
  if (!fs.statSync(whole).isDirectory()) continue;
  const names = fs.readdirSync(whole).filter((name) => name.endsWith('.yaml'));
  names.sort().forEach((name) => fileFits(path.join(whole, name)));
}
fileFits(path.join(project, 'src/cli/init/starter.yaml'));

// 2. What is offered.
const KINDS = ['csv', 'companies_house_bulk', 'parquet', 'sqlite'];
const CSV = ['path', 'delimiter', 'header', 'schema'];
const WRITE = ['append', 'replace', 'upsert', 'history', 'mark_gone'];
completes('an empty file', CURSOR, [
  'version',
  'name',
  'sources',
  'transforms',
  'sinks',
  'tests',
  'vars',
]);
completes(
  'top level',
  `version: 1\n${CURSOR}`,
  ['name', 'sources', 'transforms', 'sinks', 'schedule'],
  { not: ['version', 'inputs'] },
);
completes('top level, after a letter', `${HEAD}s${CURSOR}\n`, [
  'sources',
  'sinks',
  'state',
  'schedule',
]);
completes(
  'top level of a fragment',
  `version: 1\nfragment: x\n${CURSOR}`,
  ['inputs', 'outputs', 'transforms'],
  { not: ['sources', 'sinks'] },
);
completes('a new source', node(`    ${CURSOR}`), [...KINDS, 'contract', 'changed_since'], {
  not: ['filter', 'write'],
});
completes(
  'beside the kind of a source',
  node(`    csv:\n      path: x\n    ${CURSOR}`),
  ['contract', 'changed_since'],
  { not: ['csv'] },
);
completes(
  'a new transform',
  `${HEAD}transforms:\n  t:\n    ${CURSOR}`,
  ['from', 'filter', 'select', 'sql', 'deduplicate', 'validate', 'route', 'use'],
  { not: ['csv'] },
);
completes('a new sink', `${HEAD}sinks:\n  s:\n    ${CURSOR}`, [
  'from',
  'write',
  'key',
  'newer_by',
  'missing',
  'csv',
  'parquet',
  'sqlite',
]);
completes('settings in a block', node(`    csv:\n      ${CURSOR}`), CSV, {
  not: ['raw', 'contract'],
});
completes(
  'settings in a block, after others',
  node(`    csv:\n      path: x\n      ${CURSOR}`),
  CSV.slice(1),
  { not: ['path'] },
);
completes('settings in braces, after a letter', node(`    csv: { p${CURSOR} }\n`), CSV);
completes(
  'settings in open braces, after a letter',
  node(`    csv: { path: x, d${CURSOR}`),
  ['delimiter', 'download_to'],
  { not: ['path'] },
);
completes(
  'words of write',
  sink(`    from: a\n    csv: { path: x }\n    write: ${CURSOR}`),
  WRITE,
  { words: true },
);
completes(
  'words of write in braces',
  BASE + `sinks:\n  s: { from: a, csv: { path: x }, write: r${CURSOR} }\n`,
  WRITE,
  { words: true },
);
completes(
  'deduplicate in a block',
  `${HEAD}transforms:\n  t:\n    from: a\n    deduplicate:\n      ${CURSOR}`,
  ['by', 'prefer'],
);
completes('deduplicate in braces', transform(`    from: a\n    deduplicate: { b${CURSOR} }\n`), [
  'by',
  'prefer',
]);
completes('a rule', `${HEAD}transforms:\n  t:\n    from: a\n    validate:\n      - ${CURSOR}\n`, [
  'name',
  'that',
  'otherwise',
  'at_most',
]);
completes(
  'words of otherwise',
  transform(
    `    from: a\n    validate:\n      - name: n\n        that: x\n        otherwise: ${CURSOR}\n`,
  ),
  ['reject', 'warn', 'stop'],
  { words: true },
);
completes(
  'words of otherwise in braces',
  transform(`    from: a\n    validate:\n      - { name: n, that: x, otherwise: r${CURSOR} }\n`),
  ['reject', 'warn', 'stop'],
  { words: true },
);
completes(
  'types of variables',
  `${HEAD}vars:\n  v:\n    type: ${CURSOR}`,
  ['string', 'int', 'interval', 'path'],
  { words: true },
);
completes(
  'transforms of a fragment',
  `version: 1\nfragment: x\ntransforms:\n  t:\n    ${CURSOR}`,
  ['from', 'filter', 'sql'],
  { not: ['csv'] },
);

// 3. What is explained.
explains('name', `version: 1\nna${CURSOR}me: x\n${SOURCE}`, about('pipeline', 'name'));
explains(
  'sources',
  `${HEAD}sour${CURSOR}ces:\n  a:\n    csv: { path: x }\n`,
  about('pipeline', 'sources'),
);
explains('a kind', node(`    c${CURSOR}sv: { path: x }\n`), about('Csv'));
explains('a setting', node(`    csv: { pa${CURSOR}th: x }\n`), about('Csv', 'path'));
explains(
  'contract',
  node(`    csv: { path: x }\n    con${CURSOR}tract: { at_most: 1% }\n`),
  about('sources', 'contract'),
);
explains(
  'at_most',
  node(`    csv: { path: x }\n    contract: { at_${CURSOR}most: 1% }\n`),
  about('Contract', 'at_most'),
);
explains(
  'newer_by',
  sink(`    from: a\n    csv: { path: x }\n    write: replace\n    newer${CURSOR}_by: b\n`),
  about('sinks', 'newer_by'),
);
explains(
  'fragment',
  `${FRAGMENT.replace('frag', `frag${CURSOR}`)}transforms: {}\n`,
  about('fragment', 'fragment'),
);

// 4. What is wrong.
flags(
  'a misspelt key of a source',
  node('    csv: { path: x }\n    contrakt: { at_most: 1% }\n'),
  'contrakt',
  { message: /contrakt/, count: 1 },
);
flags('a misspelt key of the file', `${BASE}sinkz: {}\n`, 'sinkz', { message: /sinkz/, count: 1 });
flags('a misspelt setting', node('    csv:\n      path: x\n      delimeter: ";"\n'), 'delimeter', {
  message: /delimeter/,
  count: 1,
});
flags('a misspelt kind', node('    csvv: { path: x }\n'), ['csvv', 'node_id'], { message: /csvv/ });
flags(
  'a wrong word for write',
  sink('    from: a\n    csv: { path: x }\n    write: replase\n'),
  'replase',
  { message: /"replace"/, count: 1 },
);
flags(
  'a wrong word for otherwise',
  transform(
    '    from: a\n    validate:\n      - name: n\n        that: x\n        otherwise: drop\n',
  ),
  'drop',
  { message: /"reject"/, count: 1 },
);
flags(
  'two kinds in a source',
  node('    csv: { path: x }\n    parquet: { path: x }\n'),
  ['csv', 'parquet'],
  { count: 1 },
);
flags(
  'two kinds in a transform',
  transform('    from: a\n    filter: x\n    sql: select 1\n'),
  ['from', 'filter', 'sql'],
  { count: 1 },
);
flags('no from in a sink', sink('    csv: { path: x }\n    write: replace\n'), 'node_id', {
  message: /"from"/,
  count: 1,
});
flags('a source without a kind', node('    contract: { at_most: 1% }\n'), 'node_id', {
  message: /csv/,
  count: 1,
});
flags('a kind without what it needs', node('    csv: { delimiter: ";" }\n'), 'csv:', {
  message: /"path"/,
  count: 1,
});
flags(
  'at_most without %',
  node('    csv: { path: x }\n    contract:\n      at_most: 5\n'),
  'at_most',
  { count: 1 },
);
flags(
  'at_most with words',
  node('    csv: { path: x }\n    contract:\n      at_most: five%\n'),
  'at_most',
  { count: 1 },
);
flags('a bad id', `${HEAD}sources:\n  A-b:\n    csv: { path: x }\n`, 'A-b', { count: 1 });
flags('a version that is not there', `version: 2\nname: x\n${SOURCE}`, 'version: 2', {
  message: /1/,
  count: 1,
});
flags('sources in a fragment', `${FRAGMENT}transforms: {}\n${SOURCE}`, 'sources:', {
  message: /sources/,
  count: 1,
});
flags(
  'a fragment without outputs',
  `version: 1\nfragment: x\ninputs: {}\ntransforms: {}\n`,
  'version',
  { message: /"outputs"/, count: 1 },
);
flags(
  'two kinds in a fragment',
  `${FRAGMENT}transforms:\n  t:\n    from: a\n    filter: x\n    sql: select 1\n`,
  ['from', 'filter', 'sql'],
  { count: 1 },
);

// 5. What is pleasant.
{
  const words = definitions.Write?.enum ?? [];
  explains(
    'write, and its words',
    sink(`    from: a\n    csv: { path: x }\n    wr${CURSOR}ite: replace\n`),
    about('sinks', 'write'),
    words,
  );
  explains(
    'from',
    sink(`    fr${CURSOR}om: a\n    csv: { path: x }\n    write: replace\n`),
    about('sinks', 'from'),
  );
  explains(
    'from with a list',
    sink(`    fr${CURSOR}om: [a, a]\n    csv: { path: x }\n    write: replace\n`),
    about('sinks', 'from'),
  );
  explains(
    'on_change',
    node(`    csv: { path: x }\n    contract: { on_ch${CURSOR}ange: stop }\n`),
    about('Contract', 'on_change'),
  );
  explains(
    'the id of a source',
    HEAD + `sources:\n  node${CURSOR}_id:\n    csv: { path: x }\n`,
    about('sources'),
  );
  flags('no kind: says that one is needed', node('    contract: { at_most: 1% }\n'), 'node_id', {
    message: /one kind: csv, companies_house_bulk, companies_house_stream, parquet, sqlite or http_json/,
    count: 1,
  });
  flags(
    'two kinds: at the second one',
    node('    csv: { path: x }\n    parquet: { path: x }\n'),
    'parquet',
    { message: /one kind/, count: 1 },
  );
  flags(
    'three kinds: at the last two',
    sink(
      '    from: a\n    write: replace\n    parquet: { path: x }\n    csv: { path: x }\n    sqlite: { table: x }\n',
    ),
    ['csv', 'sqlite'],
    { message: /one kind/, count: 2 },
  );
  flags(
    'a kind without settings: named as in the file',
    sink('    from: a\n    write: replace\n    csv:\n'),
    'csv:',
    { message: /csv \(sink\)/, count: 1 },
  );
  flags('an empty source: once', `${HEAD}sources:\n  node_id:\n`, 'node_id', { count: 1 });
  flags(
    'at_most: says how it is written',
    node('    csv: { path: x }\n    contract:\n      at_most: 5\n'),
    'at_most',
    { message: /5%/, count: 1 },
  );
  flags(
    'a bad id: says what one looks like',
    `${HEAD}sources:\n  A-b:\n    csv: { path: x }\n`,
    'A-b',
    { message: /small letters/, count: 1 },
  );
}

// -------------------------------------------------------------------------------------- the run

// Runs all cases at once, for the server waits a little before it checks each document.
async function main() {
  await start();
  const results = await Promise.allSettled(cases.map(({ run }) => run()));
  let failed = 0;
  results.forEach(({ reason }, index) => {
    const { name } = cases[index];
    if (reason === undefined) return console.log(`ok      ${name}`);
    failed += 1;
    console.log(
      `FAILED  ${name}: ${reason instanceof assert.AssertionError ? reason.message : reason.stack}`,
    );
  });
  if (!client.ended) await client.close();
  console.log(`${cases.length - failed} of ${cases.length} cases passed`);
  return failed === 0 ? 0 : 1;
}

function leave(code) {
  client?.kill();
  fs.rmSync(workspace, { recursive: true, force: true });
  process.exit(code);
}

setTimeout(() => {
  console.log(`FAILED  nothing came back within ${DEADLINE_MS / 1000} s`);
  leave(1);
}, DEADLINE_MS);
main().then(leave, (error) => {
  console.log(`FAILED  ${error.message}`);
  leave(1);
});
