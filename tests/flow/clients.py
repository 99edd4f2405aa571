"""Stock clients by name: each is given GetFeatures requests and gives the replies, in the same order."""

import asyncio
import hashlib
import json
import os
import shutil
import subprocess

import grpc
from google.protobuf import json_format, message_factory, text_format
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from conftest import missing
from freshet.v1 import feature_pb2

SERVICE = "freshet.v1.FeatureService"
GO_TOOLS = {
    "grpcurl": "github.com/fullstorydev/grpcurl/cmd/grpcurl@latest",
    "ghz": "github.com/bojand/ghz/cmd/ghz@latest",
    "h2spec": "github.com/summerwind/h2spec/cmd/h2spec@latest",
    "connectconformance": "connectrpc.com/conformance/cmd/connectconformance@v1.0.7",
    "client": "google.golang.org/grpc/interop/client@v1.84.0",
}


def cache_directory():
    return os.path.join(os.environ.get("XDG_CACHE_HOME", os.path.expanduser("~/.cache")), "freshet-tests", "go")


def tool(name):
    """A Go program of that name, from the path or built into the user's cache."""
    return shutil.which(name) or built(name, "install", GO_TOOLS[name])


def built(name, *command, directory=None):
    """A Go program that `go` with this command makes, kept in the user's cache."""
    cache = cache_directory()
    path = os.path.join(cache, name)
    if not os.path.exists(path):
        if not shutil.which("go"):
            missing(f"no {name}, and no go to build it with")
        build = subprocess.run(
            ["go", *command], cwd=directory, env={**os.environ, "GOBIN": cache}, capture_output=True, text=True
        )
        if build.returncode != 0:
            missing(f"no {name}: {build.stderr.strip()[-200:]}")
    return path


def system_tool(name, package):
    return shutil.which(name) or missing(f"no {name}; package {package} has it")


def output_of(*command, input=None):
    done = subprocess.run(command, capture_output=True, text=True, input=input)
    assert done.returncode == 0, (done.returncode, done.stderr)
    return done.stdout


def json_of(request):
    return json_format.MessageToJson(request, indent=None)


def reply_of(text):
    return json_format.Parse(text, feature_pb2.GetFeaturesResponse())


class Reflected:
    """The messages of a method, learned from the node alone."""

    def __init__(self, channel, service, method):
        self.pool = DescriptorPool(ProtoReflectionDescriptorDatabase(channel))
        found = self.pool.FindServiceByName(service).FindMethodByName(method)
        self.path = f"/{service}/{method}"
        self.request = message_factory.GetMessageClass(found.input_type)
        self.response = message_factory.GetMessageClass(found.output_type)

    def callable(self, channel, kind="unary_unary"):
        return getattr(channel, kind)(
            self.path, request_serializer=self.request.SerializeToString, response_deserializer=self.response.FromString
        )


def grpcio(api, requests, directory):
    with grpc.insecure_channel(api) as channel:
        method = Reflected(channel, SERVICE, "GetFeatures")
        call = method.callable(channel)
        return [call(json_format.Parse(json_of(request), method.request()), timeout=30) for request in requests]


def grpcio_aio(api, requests, directory):
    """All at once."""
    with grpc.insecure_channel(api) as channel:
        method = Reflected(channel, SERVICE, "GetFeatures")

    async def ask():
        async with grpc.aio.insecure_channel(api) as channel:
            call = method.callable(channel)
            questions = [json_format.Parse(json_of(request), method.request()) for request in requests]
            return await asyncio.gather(*(call(question, timeout=60) for question in questions))

    return asyncio.run(ask())


def grpcurl(api, requests, directory):
    """A process for each."""
    command = [tool("grpcurl"), "-plaintext", "-d"]
    return [reply_of(output_of(*command, json_of(request), api, f"{SERVICE}/GetFeatures")) for request in requests]


def ghz(api, requests, directory):
    """
    Its report has no replies; its debug log has them as they came, in protobuf's text format, each beside its request. Of more
    than 100 a second the log keeps a sample.
    """
    assert len(requests) <= 100
    (directory / "questions").write_text(f"[{','.join(map(json_of, requests))}]")
    command = [tool("ghz"), "--insecure", "--call", f"{SERVICE}/GetFeatures", "-D", directory / "questions", "-O", "json"]
    report = output_of(*command, "-n", str(len(requests)), "-c", "8", "--debug", directory / "log", api)
    assert json.loads(report)["statusCodeDistribution"] == {"OK": len(requests)}
    replies = {}
    for line in (directory / "log").read_text().splitlines():
        entry = json.loads(line)
        if "response" in entry:
            asked = text_format.Parse(entry["input"], feature_pb2.GetFeaturesRequest())
            replies[asked.SerializeToString()] = text_format.Parse(entry["response"], feature_pb2.GetFeaturesResponse())
    return [replies[request.SerializeToString()] for request in requests]


def curl(api, requests, version, number):
    """A process for each: 7.88, Debian's, cannot use a connection of --http2-prior-knowledge twice (fixed in 8.0)."""
    command = [system_tool("curl", "curl"), "-sS", version, "-H", "content-type: application/json", "-d", "@-"]
    command += ["-w", "\n%{http_code} %{http_version}", f"http://{api}/{SERVICE}/GetFeatures"]
    for request in requests:
        body, _, status = output_of(*command, input=json_of(request)).rpartition("\n")
        assert status == f"200 {number}", (status, body)
        yield reply_of(body)


def curl_http1(api, requests, directory):
    return list(curl(api, requests, "--http1.1", "1.1"))


def curl_http2(api, requests, directory):
    return list(curl(api, requests, "--http2-prior-knowledge", "2"))


def connect_go(api, requests, directory):
    """Connect's own client: half of the requests over HTTP/1.1, the others over HTTP/2."""
    source = os.path.join(os.path.dirname(os.path.abspath(__file__)), "connect_client")
    with open(os.path.join(source, "main.go"), "rb") as main, open(os.path.join(source, "go.sum"), "rb") as sums:
        name = "connect_client-" + hashlib.sha256(main.read() + sums.read()).hexdigest()[:12]
    program = built(name, "build", "-o", os.path.join(cache_directory(), name), directory=source)
    return [reply_of(line) for line in output_of(program, api, input="\n".join(map(json_of, requests))).splitlines()]
