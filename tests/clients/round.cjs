// A round of ordinary work with ioredis. Usage: node round.cjs <port>, with NODE_PATH naming where ioredis is. Parts
// whose commands the server does not list are left out, and named in the last line.
const assert = require("node:assert/strict");
const Redis = require("ioredis");

const port = Number(process.argv[2]);
const leftOut = [];
const connect = (options = {}) => new Redis(port, "127.0.0.1", { retryStrategy: null, ...options });

async function main() {
  const redis = connect();
  await redis.flushall();
  const listed = async (part, ...names) => {
    const known = await redis.command("INFO", ...names);
    const all = known.every((row) => row !== null);
    if (!all) leftOut.push(part);
    return all;
  };

  // Strings and keys; commands without waiting are pipelined by the library.
  assert.equal(await redis.set("user:1", "Ann", "EX", 60), "OK");
  assert.equal(await redis.get("user:1"), "Ann");
  assert.equal(await redis.set("user:1", "Bob", "NX"), null);
  const many = await Promise.all(Array.from({ length: 2000 }, (_, n) => redis.set(`many:${n}`, n)));
  assert.ok(many.every((reply) => reply === "OK"));
  const values = await redis.mget("many:0", "many:1999", "missing");
  assert.deepEqual(values, ["0", "1999", null]);
  const found = new Set();
  for await (const keys of redis.scanStream({ match: "many:*", count: 200 })) keys.forEach((key) => found.add(key));
  assert.equal(found.size, 2000);
  const bytes = Buffer.from([0, 255, 13, 10, 0]);
  await redis.set("bytes", bytes);
  assert.deepEqual(await redis.getBuffer("bytes"), bytes);

  // A pipeline keeps the order, errors included.
  const replies = await redis.pipeline().set("n", 1).incr("n").incr("user:1").get("n").exec();
  assert.deepEqual(replies.map(([error, value]) => (error ? "error" : value)), ["OK", 2, "error", "2"]);
  await assert.rejects(redis.call("NOSUCH"), /unknown command/);
  await assert.rejects(redis.call("GET"), /wrong number of arguments/);

  if (await listed("lists", "RPUSH", "LRANGE")) {
    assert.equal(await redis.rpush("list", "a", "b"), 2);
    assert.deepEqual(await redis.lrange("list", 0, -1), ["a", "b"]);
  }
  if (await listed("hashes", "HSET", "HGETALL")) {
    assert.equal(await redis.hset("hash", { a: 1, b: 2 }), 2);
    assert.deepEqual(await redis.hgetall("hash"), { a: "1", b: "2" });
  }
  if (await listed("sets", "SADD", "SISMEMBER")) {
    assert.equal(await redis.sadd("set", "a", "b"), 2);
    assert.equal(await redis.sismember("set", "a"), 1);
  }
  if (await listed("sorted sets", "ZADD", "ZRANGE")) {
    assert.equal(await redis.zadd("zset", 2, "b", 1, "a"), 2);
    assert.deepEqual(await redis.zrange("zset", 0, -1, "WITHSCORES"), ["a", "1", "b", "2"]);
  }
  if (await listed("transactions", "MULTI", "EXEC")) {
    const results = await redis.multi().set("t", 1).incr("t").exec();
    assert.deepEqual(results, [[null, "OK"], [null, 2]]);
  }
  if (await listed("publish and subscribe", "SUBSCRIBE", "PUBLISH")) {
    const subscriber = connect();
    await subscriber.subscribe("news");
    const message = new Promise((resolve) => subscriber.on("message", (_, text) => resolve(text)));
    assert.equal(await redis.publish("news", "hello"), 1);
    assert.equal(await message, "hello");
    subscriber.disconnect();
  }
  if (await listed("scripts", "EVAL", "EVALSHA")) {
    redis.defineCommand("add", { numberOfKeys: 1, lua: "return redis.call('incrby', KEYS[1], ARGV[1])" });
    assert.equal(await redis.add("sum", 5), 5);
  }

  // Another database, another name, and a connection that the server closes.
  const other = connect({ db: 3, connectionName: "round" });
  assert.equal(await other.dbsize(), 0);
  assert.match(await redis.client("LIST"), /name=round /);
  const ended = new Promise((resolve) => other.on("end", resolve));
  assert.equal(await redis.client("KILL", "ID", await other.client("ID")), 1);
  await ended;
  assert.equal(await redis.flushall(), "OK");
  assert.equal(await redis.quit(), "OK");
  const version = require("ioredis/package.json").version;
  console.log(`ioredis ${version}: fine${leftOut.length ? `; left out: ${leftOut.join(", ")}` : ""}`);
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
