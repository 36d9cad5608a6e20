// Evaluates flags with OpenFeature's Node SDK and its OFREP provider; prints what they got, as JSON.
// node server.mjs URL KEY '[["boolean", "trait.stuck", "user", false], ...]'
import { OpenFeature } from "@openfeature/server-sdk";
import { OFREPProvider } from "@openfeature/ofrep-provider";

const [url, key, asked] = process.argv.slice(2);
await OpenFeature.setProviderAndWait(
  new OFREPProvider({ baseUrl: url, timeoutMs: 2000, headers: { Authorization: `Bearer ${key}` } }),
);
const client = OpenFeature.getClient();
const answers = [];
for (const [type, flag, targetingKey, fallback] of JSON.parse(asked)) {
  const evaluate = { boolean: "getBooleanDetails", number: "getNumberDetails", string: "getStringDetails" }[type];
  answers.push(await client[evaluate](flag, fallback, { targetingKey }));
}
console.log(JSON.stringify(answers));
