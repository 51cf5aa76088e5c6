"""What goheapd sees of a Kubernetes node: cgroups of pods, the kubelet's log files, an API server that speaks the watch
protocol over TLS."""
import contextlib
import http.server
import json
import os
import pathlib
import ssl
import subprocess
import threading
import time
import urllib.parse
import uuid

NODE = "node-1"
TOKEN = "a-service-accounts-token"


@contextlib.contextmanager
def pod_cgroup(pid, pod_uid, container_id):
    """Puts a process where containerd with the systemd driver would; it is back in the root afterwards."""
    # The unified hierarchy of a hybrid host, else that of a host with cgroup 2 alone.
    root = next(path for path in map(pathlib.Path, ("/sys/fs/cgroup/unified", "/sys/fs/cgroup"))
                if (path / "cgroup.procs").exists())
    before = root / pathlib.Path(f"/proc/{pid}/cgroup").read_text().split("0::/")[1].split("\n")[0]
    # Not directly below the root: a real kubelet's slice is no place for tests.
    top = root / f"goheapd-test-{os.getpid()}-{uuid.uuid4().hex[:8]}.slice"
    unit = pod_uid.replace("-", "_")
    leaf = top / f"kubepods-burstable-pod{unit}.slice" / f"cri-containerd-{container_id}.scope"
    leaf.mkdir(parents=True)
    (leaf / "cgroup.procs").write_text(str(pid))
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            (before / "cgroup.procs").write_text(str(pid))
        for directory in (leaf, leaf.parent, top):
            for _ in range(500):   # until the kernel has let go of a process that is gone
                try:
                    directory.rmdir()
                    break
                except OSError:
                    time.sleep(0.01)


def pod(name, uid, container, container_id, namespace="shop", labels=None, annotations=None):
    """As the API describes a running pod of a deployment called shop."""
    return {
        "metadata": {"name": name, "namespace": namespace, "uid": uid, "labels": labels or {},
                     "annotations": annotations or {},
                     "ownerReferences": [{"kind": "ReplicaSet", "name": "shop-5d9f7c6b8", "controller": True}]},
        "spec": {"nodeName": NODE, "containers": [{"name": container, "image": "shop"}]},
        "status": {"phase": "Running",
                   "containerStatuses": [{"name": container, "containerID": f"containerd://{container_id}"}]},
    }


class ApiServer:
    """`put` and `delete` change what there is; whoever watches is told."""

    def __init__(self, directory):
        self.directory = pathlib.Path(directory)
        self._pods = {}
        self._events = []   # (version, event)
        self._version = 1000
        self._oldest = 0    # versions below are forgotten
        self._changed = threading.Condition()
        self._stopping = False
        self._how = "rightly"
        self.requests = []  # (verb, resourceVersion)
        (self.directory / "token").write_text(TOKEN + "\n")
        self._make_certificate()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                outer._answer(self)

            def log_message(self, *arguments):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request, client_address):
                """A client that hangs up is none."""

        self._server = Server(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.directory / "server.crt", self.directory / "server.key")
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    def _make_certificate(self):
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                        "-days", "1", "-subj", "/CN=api", "-addext", "subjectAltName=IP:127.0.0.1",
                        "-keyout", self.directory / "server.key", "-out", self.directory / "server.crt"],
                       check=True, capture_output=True)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def arguments(self):
        """What makes the daemon ask this server."""
        return ["--kubernetes", "api", *self.address]

    @property
    def address(self):
        return ["--kubernetes.node", NODE, "--kubernetes.api-server", f"https://127.0.0.1:{self._server.server_port}",
                "--kubernetes.ca-file", self.directory / "server.crt", "--kubernetes.token-file", self.directory / "token"]

    def answer(self, how):
        """From now on `how`: "rightly", "denied" (403) or "not" (hangs up); watches that go on break off."""
        with self._changed:
            self._how = how
            self._changed.notify_all()

    def put(self, pod):
        with self._changed:
            uid = pod["metadata"]["uid"]
            self._change("MODIFIED" if uid in self._pods else "ADDED", pod)
            self._pods[uid] = pod

    def delete(self, uid):
        with self._changed:
            self._change("DELETED", self._pods.pop(uid))

    def _change(self, kind, pod):
        self._version += 1
        pod["metadata"]["resourceVersion"] = str(self._version)
        self._events.append((self._version, json.dumps({"type": kind, "object": pod})))
        self._changed.notify_all()

    def expire(self):
        """Forgets the past and ends every watch: whoever goes on from an old version is told that it is gone."""
        with self._changed:
            self._version += 100
            self._oldest = self._version
            self._events.clear()
            self._changed.notify_all()

    def _answer(self, handler):
        query = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(handler.path).query, keep_blank_values=True))
        if self._how == "not":
            handler.close_connection = True
            return None
        if self._how == "denied":
            return self._send(handler, 403, {"kind": "Status", "code": 403, "message": "pods is forbidden"})
        if handler.headers["Authorization"] != f"Bearer {TOKEN}":
            return self._send(handler, 401, {"kind": "Status", "code": 401, "message": "Unauthorized"})
        if query.get("fieldSelector") != f"spec.nodeName={NODE}":
            return self._send(handler, 403, {"kind": "Status", "code": 403, "message": "only the own node's pods"})
        if "watch" in query:
            self.requests.append(("watch", query["resourceVersion"]))
            return self._watch(handler, int(query["resourceVersion"]))
        self.requests.append(("list", query["resourceVersion"]))
        with self._changed:
            pods = {"kind": "PodList", "metadata": {"resourceVersion": str(self._version)},
                    "items": list(self._pods.values())}
        return self._send(handler, 200, pods)

    @staticmethod
    def _send(handler, status, body):
        body = json.dumps(body).encode()
        handler.send_response(status)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    def _watch(self, handler, version):
        handler.send_response(200)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()

        def send(line):
            handler.wfile.write(f"{len(line) + 1:x}\r\n{line}\n\r\n".encode())
            handler.wfile.flush()

        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._stopping or self._how != "rightly" or version < self._version
                                       or version < self._oldest, 1)
                if self._stopping or self._how != "rightly":
                    handler.close_connection = True
                    return
                gone = version < self._oldest
                due = [event for at, event in self._events if at > version]
                version = self._version
            if gone:
                send(json.dumps({"type": "ERROR", "object": {"kind": "Status", "code": 410, "reason": "Expired",
                                                              "message": "too old resource version"}}))
                handler.wfile.write(b"0\r\n\r\n")
                return
            for event in due:
                send(event)
            bookmark = {"kind": "Pod", "metadata": {"resourceVersion": str(version)}}
            send(json.dumps({"type": "BOOKMARK", "object": bookmark}))
