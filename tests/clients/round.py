"""A round of ordinary work with redis-py. Usage: round.py <port>. Parts whose commands the server does not list are
left out, and named in the last line."""

import sys
import threading

import redis

port = int(sys.argv[1])
left_out = []


def connect(**options):
    return redis.Redis(host="127.0.0.1", port=port, socket_timeout=10, **options)


def check(got, wanted):
    assert got == wanted, f"got {got!r}, wanted {wanted!r}"


def listed(client, part, *names):
    known = {name.decode() for name in client.command_list()}
    missing = {name.lower() for name in names} - known
    if missing:
        left_out.append(part)
    return not missing


def strings(r):
    check(r.set("user:1", "Ann", ex=60), True)
    check(r.get("user:1"), b"Ann")
    assert 0 < r.ttl("user:1") <= 60
    check(r.set("user:1", "Bob", nx=True), None)
    check(r.set("user:1", "Bob", xx=True, get=True), b"Ann")
    check(r.incrby("visits", 5), 5)
    check(r.incrbyfloat("price", 1.5), 1.5)
    check(r.mset({"a": 1, "b": b"\x00\xff", "c": ""}), True)
    check(r.mget("a", "b", "c", "missing"), [b"1", b"\x00\xff", b"", None])
    check(r.append("a", "23"), 3)
    check(r.getrange("a", 1, -1), b"23")
    check(r.setbit("bits", 100, 1), 0)
    check(r.bitcount("bits"), 1)
    large = bytes(range(256)) * 8192
    check(r.set("large", large), True)
    check(r.get("large"), large)


def keys(r):
    check(r.delete("a", "b", "missing"), 2)
    check(r.exists("c", "c", "missing"), 2)
    check(r.rename("c", "d"), True)
    check(r.type("d"), "string" if isinstance(r.type("d"), str) else b"string")
    check(r.expire("d", 100), True)
    check(r.persist("d"), True)
    with r.pipeline(transaction=False) as pipe:
        for n in range(1000):
            pipe.set(f"many:{n}", n)
        check(pipe.execute(), [True] * 1000)
    check({key for key in r.scan_iter("many:*", count=100)}, {f"many:{n}".encode() for n in range(1000)})
    check(len(r.keys("many:99*")), 11)
    check(r.unlink(*[f"many:{n}" for n in range(1000)]), 1000)


def errors(r):
    r.set("text", "x")
    for call in (lambda: r.incr("text"), lambda: r.execute_command("NOSUCH"), lambda: r.execute_command("GET")):
        try:
            call()
        except redis.ResponseError:
            continue
        raise AssertionError("an error was expected")
    with r.pipeline(transaction=False) as pipe:
        pipe.set("p", 1).incr("text").incr("p")
        replies = pipe.execute(raise_on_error=False)
    assert replies[0] is True and isinstance(replies[1], redis.ResponseError) and replies[2] == 2, replies


def collections(r):
    if listed(r, "lists", "RPUSH", "LRANGE", "LPOP"):
        check(r.rpush("queue", "a", "b", "c"), 3)
        check(r.lrange("queue", 0, -1), [b"a", b"b", b"c"])
        check(r.lpop("queue", 2), [b"a", b"b"])
    if listed(r, "hashes", "HSET", "HGETALL", "HINCRBY"):
        check(r.hset("hash", mapping={"name": "Ann", "age": 30}), 2)
        check(r.hgetall("hash"), {b"name": b"Ann", b"age": b"30"})
        check(r.hincrby("hash", "age", 1), 31)
    if listed(r, "sets", "SADD", "SMEMBERS", "SINTER"):
        check(r.sadd("s1", 1, 2, 3), 3)
        check(r.sadd("s2", 2, 3, 4), 3)
        check(set(r.sinter("s1", "s2")), {b"2", b"3"})
        check(set(r.smembers("s1")), {b"1", b"2", b"3"})
    if listed(r, "sorted sets", "ZADD", "ZRANGE", "ZINCRBY"):
        check(r.zadd("board", {"ann": 1, "bob": 2.5}), 2)
        check(r.zincrby("board", 3, "ann"), 4.0)
        got = [(member, score) for member, score in r.zrange("board", 0, -1, withscores=True)]
        check(got, [(b"bob", 2.5), (b"ann", 4.0)])
    if listed(r, "streams", "XADD", "XRANGE", "XLEN"):
        check(r.xadd("events", {"kind": "login"}, id="1-1"), b"1-1")
        check(r.xlen("events"), 1)
        check(r.xrange("events"), [(b"1-1", {b"kind": b"login"})])


def transactions(r):
    if not listed(r, "transactions", "MULTI", "EXEC", "WATCH"):
        return
    with r.pipeline() as pipe:
        check(pipe.set("t", 1).incr("t").get("t").execute(), [True, 2, b"2"])
    with r.pipeline() as pipe:
        pipe.watch("t")
        r.set("t", 10)
        pipe.multi()
        pipe.incr("t")
        try:
            pipe.execute()
        except redis.WatchError:
            return
    raise AssertionError("a changed watched key aborts the transaction")


def messages(r):
    if not listed(r, "publish and subscribe", "SUBSCRIBE", "PUBLISH"):
        return
    with r.pubsub() as subscriber:
        subscriber.subscribe("news")
        check(subscriber.get_message(timeout=5)["type"], "subscribe")
        check(r.publish("news", "hello"), 1)
        check(subscriber.get_message(timeout=5)["data"], b"hello")


def connections(r):
    names = [connect(client_name=f"round-{n}") for n in range(5)]
    for client in names:
        check(client.ping(), True)
    shown = {client["name"] for client in r.client_list()}
    assert {f"round-{n}" for n in range(5)} <= shown, shown
    for client in names:
        client.close()
    threads = [threading.Thread(target=lambda: [r.incr("counter") for _ in range(200)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    check(r.get("counter"), b"1600")
    assert r.info("server")["redis_version"]
    check(r.config_get("maxmemory-policy")["maxmemory-policy"], "noeviction")


for protocol in (2, 3):
    client = connect(protocol=protocol)
    client.flushall()
    for part in (strings, keys, errors, collections, transactions, messages, connections):
        part(client)
    decoded = connect(protocol=protocol, decode_responses=True)
    decoded.set("umlaut", "äöü")
    check(decoded.get("umlaut"), "äöü")
    client.flushall()
    check(client.dbsize(), 0)

print(f"redis-py {redis.__version__}: fine" + (f"; left out: {', '.join(sorted(set(left_out)))}" if left_out else ""))
