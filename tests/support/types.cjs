// Prints what the compiler finds in the folder's TypeScript by each configuration that is named, with `strict` and without:
// "tsconfig.json strict: app/page.tsx:3 TS2322 …".
const path = require("node:path");
const ts = require(path.resolve("node_modules/typescript"));

const known = new Map(); // libraries are read once

for (const name of process.argv.slice(2)) {
  const { config } = ts.readConfigFile(name, ts.sys.readFile);
  const { fileNames, options } = ts.parseJsonConfigFileContent(config, ts.sys, process.cwd());
  for (const strict of [true, false]) {
    const host = ts.createCompilerHost({ ...options, strict });
    const read = host.getSourceFile;
    host.getSourceFile = (file, ...rest) => {
      if (!known.has(file)) known.set(file, read(file, ...rest));
      return known.get(file);
    };
    const program = ts.createProgram(fileNames, { ...options, strict, incremental: false }, host);
    for (const { file, start, code, messageText } of ts.getPreEmitDiagnostics(program)) {
      const where = file ? `${path.relative(".", file.fileName)}:${file.getLineAndCharacterOfPosition(start).line + 1} ` : "";
      console.log(`${name} ${strict ? "strict" : "loose"}: ${where}TS${code} ${ts.flattenDiagnosticMessageText(messageText, " ")}`);
    }
  }
}
