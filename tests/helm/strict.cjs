// Kubernetes objects on standard input, as a JSON list; prints what is wrong with them as a JSON list of texts.
// Models have the schemas' rules at run time; their types know each field, so the compiler finds one that is none.
// usage: node strict.cjs NODE_MODULES
"use strict";

const { readFileSync } = require("node:fs");
const { join } = require("node:path");
const { pathToFileURL } = require("node:url");

const modules = process.argv[2];
const ts = require(join(modules, "typescript"));
const PACKAGES = {
  "keda.sh": "@kubernetes-models/keda/",
  "monitoring.coreos.com": "@kubernetes-models/prometheus-operator/",
};

function home({ apiVersion, kind }) {
  const [group] = apiVersion.split("/");
  return `${PACKAGES[group] ?? "kubernetes-models/"}${apiVersion}/${kind}`;
}

async function invalid(object) {
  const from = pathToFileURL(join(modules, `${home(object)}.js`));
  const { [object.kind]: Model } = await import(from);
  try {
    new Model(object).validate();
    return [];
  } catch (error) {
    return [error.message];
  }
}

function unknown(objects) {
  const name = join(modules, "..", "objects.ts");
  const text = objects
    .map((object, number) => {
      const { apiVersion, kind, ...literal } = object;
      return `import { ${kind} as K${number} } from "${home(object)}";
export const o${number}: NonNullable<ConstructorParameters<typeof K${number}>[0]> = ${JSON.stringify(literal)};`;
    })
    .join("\n");
  const options = { noEmit: true, strict: true, skipLibCheck: true, module: ts.ModuleKind.NodeNext, types: [] };
  const host = ts.createCompilerHost(options);
  const { getSourceFile, fileExists } = host;
  host.fileExists = (path) => path === name || fileExists(path);
  host.getSourceFile = (path, ...rest) =>
    path === name ? ts.createSourceFile(path, text, ts.ScriptTarget.ES2022) : getSourceFile(path, ...rest);
  const found = ts.getPreEmitDiagnostics(ts.createProgram([name], options, host));
  return found.map((one) => ts.flattenDiagnosticMessageText(one.messageText, "\n"));
}

async function main() {
  const objects = JSON.parse(readFileSync(0, "utf8"));
  const said = await Promise.all(objects.map(invalid));
  process.stdout.write(JSON.stringify([...said.flat(), ...unknown(objects)]));
}

main();
