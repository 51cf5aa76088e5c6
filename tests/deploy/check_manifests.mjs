// Checks Kubernetes objects against the published schemas: node check_manifests.mjs NODE_MODULES FILE...
//
// The validators of kubernetes-models refuse wrong types and missing fields, but accept fields that do not exist, as a
// misspelt one would be. So each object is wrapped in proxies that remember what the validator asked for: it asks for
// every field that the schema has, and lists the keys of free-form maps. A field that it never asked for is unknown.
import {existsSync, readFileSync} from "node:fs";
import {createRequire} from "node:module";
import {join} from "node:path";
import {pathToFileURL} from "node:url";

const [modules, ...files] = process.argv.slice(2);
const require = createRequire(join(modules, "x.js"));
const yaml = require("js-yaml");

// "apps/v1" DaemonSet -> its validator, whose file the model's file names.
async function validatorOf(apiVersion, kind) {
  const version = apiVersion.includes("/") ? apiVersion : `core/${apiVersion}`;
  const candidates = [
    join(modules, "kubernetes-models", apiVersion, `${kind}.js`),
    join(modules, "kubernetes-models", version, `${kind}.js`),
    join(modules, "kubernetes-models", version.replace(/\.k8s\.io\//, "/"), `${kind}.js`),
    join(modules, "kubernetes-models", version.split(".")[0] + "/" + version.split("/")[1], `${kind}.js`),
    join(modules, "@kubernetes-models/prometheus-operator", apiVersion, `${kind}.js`),
  ];
  const model = candidates.find(existsSync);
  if (!model) throw new Error(`no schema for ${apiVersion} ${kind}`);
  const schema = /from"([^"]*_schemas\/[^"]+)"/.exec(readFileSync(model, "utf8"))[1];
  const path = join(model, "..", schema);
  return (await import(pathToFileURL(existsSync(path) ? path : `${path}.js`))).validate;
}

function watch(value, path, unread) {
  if (value === null || typeof value !== "object") return value;
  const seen = new Set();
  const children = new Map();
  const keys = () => Array.isArray(value) ? [] : Object.keys(value).filter((key) => !seen.has(key));
  unread.push(() => keys().map((key) => `${path}.${key}`));
  return new Proxy(value, {
    get(target, key) {
      seen.add(key);
      const child = target[key];
      if (child === null || typeof child !== "object") return child;
      if (!children.has(key)) children.set(key, watch(child, `${path}.${String(key)}`, unread));
      return children.get(key);
    },
    has(target, key) {
      seen.add(key);
      return key in target;
    },
    ownKeys(target) {
      for (const key of Object.keys(target)) seen.add(key);
      return Reflect.ownKeys(target);
    },
  });
}

let checked = 0;
let mistakes = 0;
for (const file of files) {
  for (const object of yaml.loadAll(readFileSync(file, "utf8"))) {
    if (!object) continue;
    ++checked;
    const complain = (text) => {
      ++mistakes;
      console.log(`${file}: ${object.kind} ${object.metadata?.name}: ${text}`);
    };
    try {
      const validate = await validatorOf(object.apiVersion, object.kind);
      const unread = [];
      if (!validate(watch(object, "", unread))) {
        for (const error of validate.errors) complain(`${error.instancePath} ${error.keyword} ${JSON.stringify(error.params)}`);
      }
      for (const key of unread.flatMap((ask) => ask())) complain(`unknown field ${key}`);
    } catch (error) {
      complain(error.message);
    }
  }
}
console.log(`${checked} objects, ${mistakes} mistakes`);
process.exit(mistakes > 0 || checked === 0 ? 1 : 0);
