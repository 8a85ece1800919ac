// The walk with the TypeScript SDK: `client_typescript.mjs 2|1 URL [auto|legacy]`; PEER_MODULES names the folder of its node_modules.
import { randomBytes } from "node:crypto";
import { createRequire } from "node:module";
import { setTimeout as sleep } from "node:timers/promises";

const [major, url, mode] = process.argv.slice(2);
const require = createRequire(`${process.env.PEER_MODULES}/package.json`);
const isNewer = major === "2";
const PATIENCE_MS = 10_000;
const seen = {};
const logs = [];
let wasUpdated;
const updated = new Promise((resolve) => (wasUpdated = resolve));

const sdk = isNewer
  ? require("@modelcontextprotocol/client")
  : {
      ...require("@modelcontextprotocol/sdk/client/index.js"),
      ...require("@modelcontextprotocol/sdk/client/streamableHttp.js"),
      ...require("@modelcontextprotocol/sdk/types.js"),
    };

// The older SDK knows handlers by schema, the newer by method.
const SCHEMAS = {
  "elicitation/create": "ElicitRequestSchema",
  "sampling/createMessage": "CreateMessageRequestSchema",
  "roots/list": "ListRootsRequestSchema",
  "notifications/message": "LoggingMessageNotificationSchema",
  "notifications/resources/updated": "ResourceUpdatedNotificationSchema",
};
const named = (method) => (isNewer ? method : sdk[SCHEMAS[method]]);

function plain(value) {
  const data = JSON.parse(JSON.stringify(value));
  for (const key of ["resultType", "ttlMs", "cacheScope", "_meta"]) delete data[key];
  return data;
}

function within(promise, what) {
  const limit = sleep(PATIENCE_MS).then(() => {
    throw new Error(`waited for ${what}`);
  });
  return Promise.race([promise, limit]);
}

function makeClient() {
  const options = { capabilities: { elicitation: {}, sampling: {}, roots: {} } };
  if (isNewer) options.versionNegotiation = { mode };
  const client = new sdk.Client({ name: "walker", version: "1" }, options);
  client.setRequestHandler(named("elicitation/create"), async (request) => {
    seen.asked = request.params.message;
    return { action: "accept", content: { name: "Ada" } };
  });
  client.setRequestHandler(named("sampling/createMessage"), async (request) => {
    seen["to think of"] = [request.params.messages[0].content].flat()[0].text;
    return { role: "assistant", content: { type: "text", text: "42" }, model: "test" };
  });
  client.setRequestHandler(named("roots/list"), async () => ({ roots: [{ uri: "file:///walk", name: "walk" }] }));
  client.setNotificationHandler(named("notifications/message"), ({ params }) => {
    logs.push([params.level, params.data]);
  });
  client.setNotificationHandler(named("notifications/resources/updated"), () => wasUpdated());
  return client;
}

function call(client, name, args = {}, options = undefined, meta = undefined) {
  const params = { name, arguments: args, ...(meta ? { _meta: meta } : {}) };
  return isNewer ? client.callTool(params, options) : client.callTool(params, undefined, options);
}

async function tools(client, isModern) {
  seen.tools = [];
  let cursor;
  do {
    const page = await client.listTools(cursor ? { cursor } : undefined);
    seen.tools.push(...page.tools.map(plain));
    cursor = page.nextCursor;
  } while (cursor);
  seen.echo = plain(await call(client, "echo", { text: "grüß\n😀" }));
  seen.add = (await call(client, "add", { a: 1, b: 2 })).structuredContent;
  seen.fail = plain(await call(client, "fail"));
  const progress = [];
  const onprogress = ({ progress: done, total, message }) => progress.push([done, total, message]);
  seen.steps = plain(await call(client, "steps", { count: 3 }, { onprogress }));
  seen.progress = progress;
  if (!isModern) await client.setLoggingLevel("info");
  const level = isModern ? { "io.modelcontextprotocol/logLevel": "info" } : undefined;
  seen.log = plain(await call(client, "log", {}, undefined, level));
  seen.logs = logs;
}

async function content(client) {
  seen.resources = (await client.listResources()).resources.map(plain);
  seen.templates = (await client.listResourceTemplates()).resourceTemplates.map((each) => each.uriTemplate).sort();
  for (const uri of ["walk://text", "walk://bytes", "walk://item/a%20b"]) {
    seen[uri] = (await client.readResource({ uri })).contents.map(plain);
  }
  seen.missing = await client.readResource({ uri: "walk://nothing" }).then(
    () => "not refused",
    (error) => ([-32602, -32002, 0].includes(error.code) ? "refused" : `${error.code} ${error.message}`),
  );
  seen.prompts = (await client.listPrompts()).prompts.map(plain);
  seen.prompt = (await client.getPrompt({ name: "greet", arguments: { name: "Ada" } })).messages.map(plain);
  const ref = { type: "ref/prompt", name: "greet" };
  seen.completion = plain((await client.complete({ ref, argument: { name: "name", value: "a" } })).completion);
}

async function subscription(client, isModern) {
  const uri = "walk://text";
  const stream = isModern ? await client.listen({ resourceSubscriptions: [uri] }) : await client.subscribeResource({ uri });
  await call(client, "touch");
  await within(updated, "the update");
  await (isModern ? stream.close() : client.unsubscribeResource({ uri }));
  seen.updated = true;
}

async function cancellation(client) {
  const mark = randomBytes(8).toString("hex");
  const control = new AbortController();
  let started;
  const running = new Promise((resolve) => (started = resolve));
  const waiting = call(client, "wait", { mark }, { signal: control.signal, onprogress: () => started() });
  const ended = waiting.then(() => "answered", () => "aborted");
  await within(running, "the first progress");
  control.abort("enough");
  seen.aborted = await ended;
  const isCancelled = async () => (await client.readResource({ uri: `walk://cancelled/${mark}` })).contents[0].text === "yes";
  const limit = Date.now() + PATIENCE_MS;
  while (!(await isCancelled())) {
    if (Date.now() > limit) throw new Error("the server was not told of the cancellation");
    await sleep(50);
  }
  seen.cancelled = true;
  seen.after = (await call(client, "add", { a: 2, b: 2 })).structuredContent;
}

async function main() {
  const token = process.env.PEER_TOKEN;
  const headers = token ? { authorization: `Bearer ${token}` } : {};
  const client = makeClient();
  await client.connect(new sdk.StreamableHTTPClientTransport(new URL(url), { requestInit: { headers } }));
  const isModern = isNewer && client.getProtocolEra() === "modern";
  seen.protocol = isNewer ? client.getNegotiatedProtocolVersion() : "";
  seen.server = client.getServerVersion()?.name;
  seen.instructions = client.getInstructions();
  await tools(client, isModern);
  await content(client);
  for (const tool of ["ask", "think", "where"]) seen[tool] = plain(await call(client, tool));
  await subscription(client, isModern);
  await cancellation(client);
  await client.close();
}

try {
  await main();
} catch (error) {
  console.error(`Error: ${error.stack}`);
  process.exitCode = 1;
}
console.log(JSON.stringify(seen));
process.exit();
