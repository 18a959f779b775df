"""A cluster client that writes while shards change hands. Usage: cluster.py <primary> <primary> <primary> <replica>
<replica> <replica> (ports; the replicas are not replicas yet). Forms the cluster, writes, lets each replica take over in
turn, and looks whether every acknowledged write is there."""

import sys
import threading
import time

import redis
from redis.cluster import ClusterNode, RedisCluster

ports = [int(port) for port in sys.argv[1:7]]
nodes = [redis.Redis(host="127.0.0.1", port=port, socket_timeout=10, decode_responses=True) for port in ports]
DEADLINE = 40


def until(what, look):
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end:
        try:
            if look():
                return
        except redis.RedisError:
            pass
        time.sleep(0.05)
    raise SystemExit(f"{what} did not happen")


def myself(node):
    return node.execute_command("CLUSTER MYID")


for number, node in enumerate(nodes):
    node.execute_command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
    if number < 3:
        node.execute_command("CLUSTER", "ADDSLOTSRANGE", number * 16384 // 3, (number + 1) * 16384 // 3 - 1)
    if number > 0:
        nodes[0].execute_command("CLUSTER", "MEET", "127.0.0.1", ports[number], ports[number] + 10000)
until("the cluster", lambda: all(n.cluster("INFO")["cluster_state"] == "ok" for n in nodes))
until("acquaintance", lambda: all(n.cluster("INFO")["cluster_known_nodes"] == "6" for n in nodes))
for number in range(3):
    nodes[3 + number].execute_command("CLUSTER", "REPLICATE", myself(nodes[number]))
until("the replicas", lambda: all(n.info("replication").get("master_link_status") == "up" for n in nodes[3:]))

client = RedisCluster(startup_nodes=[ClusterNode("127.0.0.1", port) for port in ports], cluster_error_retry_attempts=20)
acknowledged, errors, stop = {}, [], threading.Event()


def write():
    number = 0
    while not stop.is_set():
        key = f"key-{number % 500}"
        try:
            client.set(key, number)
            acknowledged[key] = number
        except redis.RedisError as error:
            errors.append(error)
        number += 1


writer = threading.Thread(target=write)
writer.start()
until("some writes", lambda: len(acknowledged) > 100)
for number in range(3):
    nodes[3 + number].execute_command("CLUSTER", "FAILOVER")
    until("the failover", lambda: nodes[3 + number].info("replication")["role"] == "master")
    until("writes behind it", lambda: client.set(f"after-{number}", number))
stop.set()
writer.join()
for key, value in acknowledged.items():
    got = int(client.get(key))
    assert got >= value, f"{key}: {got} instead of {value}"
print(f"{len(acknowledged)} keys written through three failovers, {len(errors)} errors")
