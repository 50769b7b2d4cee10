"""The Helm chart: what it renders is valid, and agrees with st8d and its image."""

from __future__ import annotations

import base64
import json
import re
import shutil
from importlib import import_module
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from st8 import config
from tests.docs.shell import ROOT
from tests.packaging.dockerfile import DOCKERFILE
from tests.packaging.renderer import (
    CHART,
    RefusedError,
    has_helm,
    lint,
    render,
    render_notes,
)
from tests.packaging.running import PROGRAMS, certify, started

if TYPE_CHECKING:
    from tests.postgres.server import PostgresServer

pytestmark = pytest.mark.skipif(
    not has_helm(), reason="neither helm-python-sdk nor helm is here"
)

TLS = {"enabled": True, "existingSecret": "server-tls"}
MUTUAL = TLS | {"clientCA": {"existingSecret": "clients", "auth": "required"}}
POLICY = {
    "tokens": [
        {
            "name": "app",
            "token_sha256": "a" * 64,
            "allow": {"namespaces": ["*"], "branches": ["*"], "verbs": ["read"]},
        }
    ]
}
SETS: dict[str, dict[str, Any]] = {
    "nothing": {},
    "token": {"auth": {"token": {"value": "my-secret-token"}}},
    "secrets": {
        "auth": {
            "token": {"existingSecret": "mine", "key": "st8d"},
            "policy": {"existingSecret": "rules", "key": "rules.yaml"},
        },
        "persistence": {"existingClaim": "disk"},
        "serviceAccount": {"create": False},
    },
    "policy": {"auth": {"policy": {"config": POLICY}}, "auditLog": "-"},
    "tls": {"tls": TLS, "metrics": {"serviceMonitor": {"enabled": True}}},
    "mutual": {
        "tls": MUTUAL | {"minVersion": "1.3"},
        "metrics": {
            "serviceMonitor": {
                "enabled": True,
                "tokenSecret": "reader",
                "tlsConfig": {
                    "ca": {"secret": {"name": "server-tls", "key": "ca.crt"}},
                    "cert": {"secret": {"name": "prometheus", "key": "tls.crt"}},
                    "keySecret": {"name": "prometheus", "key": "tls.key"},
                },
            }
        },
    },
    "optional": {
        "tls": MUTUAL | {"clientCA": {"existingSecret": "clients", "auth": "optional"}}
    },
    "everything": {
        "image": {"repository": "registry/st8d", "digest": f"sha256:{'b' * 64}"},
        "imagePullSecrets": [{"name": "pull"}],
        "fullnameOverride": "state",
        "extraArgs": ["--log-level=debug", "--shutdown-timeout=20s"],
        "extraEnv": [{"name": "ST8D_IDLE_TIMEOUT", "value": "5m"}],
        "extraVolumes": [{"name": "more", "emptyDir": {}}],
        "extraVolumeMounts": [{"name": "more", "mountPath": "/more"}],
        "persistence": {
            "storageClass": "-",
            "annotations": {"a": "b"},
            "size": "1Gi",
            "keep": False,
        },
        "service": {"type": "LoadBalancer", "port": 443, "annotations": {"a": "b"}},
        "serviceAccount": {"name": "st8d-account", "annotations": {"a": "b"}},
        "podAnnotations": {"a": "b"},
        "podLabels": {"c": "d"},
        "priorityClassName": "high",
        "nodeSelector": {"disk": "ssd"},
        "tolerations": [{"key": "state", "operator": "Exists"}],
        "affinity": {"nodeAffinity": {}},
        "metrics": {"serviceMonitor": {"enabled": True, "labels": {"release": "p"}}},
        "networkPolicy": {
            "enabled": True,
            "from": [{"namespaceSelector": {"matchLabels": {"team": "shop"}}}],
        },
    },
    "store": {"store": {"existingSecret": "database", "key": "uri"}, "replicaCount": 3},
    "store and token": {
        "store": {"url": "postgresql://st8@db.prod:5432/st8"},
        "auth": {"token": {"value": "my-secret-token"}},
        "extraEnv": [{"name": "PGPASSWORD", "value": "of the store"}],
        "tls": TLS,
    },
    "fleeting": {
        "persistence": {"enabled": False},
        "networkPolicy": {"enabled": True},
    },
}
_RENDERED: dict[str, list[dict[str, Any]]] = {}


def rendered(name: str) -> list[dict[str, Any]]:
    """Return what the chart makes of one of the sets of values."""
    if name not in _RENDERED:
        _RENDERED[name] = render(SETS[name])
    return _RENDERED[name]


def only(documents: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    """Return the one document of a kind."""
    (found,) = [document for document in documents if kind == document["kind"]]
    return found


def workload_of(documents: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the specification of what makes pods."""
    (found,) = [d for d in documents if d["kind"] in {"StatefulSet", "Deployment"}]
    spec: dict[str, Any] = found["spec"]
    return spec


def pod_of(documents: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the specification of the pod."""
    spec: dict[str, Any] = workload_of(documents)["template"]["spec"]
    return spec


def container_of(documents: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the one container of the pod."""
    (container,) = pod_of(documents)["containers"]
    found: dict[str, Any] = container
    return found


def variables_of(container: dict[str, Any], store: str) -> dict[str, str]:
    """Return the variables of the container, with ``store`` as the store's URL."""
    found = {
        one["name"]: one.get("value", "from-a-secret")
        for one in container.get("env", ())
    }
    return found | ({"ST8D_STORE": store} if "ST8D_STORE" in found else {})


@pytest.mark.parametrize("version", ["1.25.0", "1.37.0"])
@pytest.mark.parametrize("name", SETS)
def test_kubernetes_takes_what_is_rendered(name: str, version: str) -> None:
    """Every manifest is valid, with no field that Kubernetes does not know."""
    schemas = import_module("kubernetes_validate")
    for document in rendered(name):
        if document["kind"] != "ServiceMonitor":  # not of Kubernetes itself
            schemas.validate(document, version, strict=True)


@pytest.mark.parametrize("name", SETS)
def test_nothing_is_named_twice(name: str) -> None:
    """No two manifests are the same object, and all are the release's."""
    documents = rendered(name)
    names = [(d["kind"], d["metadata"]["name"]) for d in documents]

    assert len(set(names)) == len(names)
    for document in documents:
        labels = document["metadata"]["labels"]
        assert "demo" == labels["app.kubernetes.io/instance"]


@pytest.mark.parametrize("name", SETS)
def test_flags_and_variables_are_those_of_st8d(name: str) -> None:
    """St8d takes the arguments and variables of the container as they are."""
    container = container_of(rendered(name))
    store = "postgresql://st8:from-a-secret@db/st8"

    settings = config.load(container["args"], variables_of(container, store))

    assert (store if "store" in SETS[name] else "sqlite:/data") == settings.store_url
    assert (config.TcpAddress("", 8748),) == settings.listen
    assert ("tls" in SETS[name]) == (settings.tls is not None)
    token = SETS[name].get("auth", {}).get("token")
    assert ("from-a-secret" if token else None) == settings.token
    policy = SETS[name].get("auth", {}).get("policy")
    assert (policy is not None) == (settings.auth_config is not None)


@pytest.mark.parametrize("name", SETS)
def test_files_of_flags_are_mounted(name: str) -> None:
    """Each path in a flag lies in a volume, which has a file of that name."""
    documents = rendered(name)
    container, volumes = container_of(documents), pod_of(documents)["volumes"]
    mounts = {one["mountPath"]: one for one in container["volumeMounts"]}
    sources = {volume["name"]: volume for volume in volumes}

    assert set(sources) == {mount["name"] for mount in mounts.values()}
    for flag in container["args"]:
        path = PurePosixPath(flag.partition("=")[2])
        if not path.is_absolute() or str(path) == "/data":
            continue
        mount = mounts[str(path.parent)]
        secret = sources[mount["name"]]["secret"]
        files = [item["path"] for item in secret.get("items", ())]
        assert mount["readOnly"]
        assert path.name in (files or ["tls.crt", "tls.key"])  # of kubernetes.io/tls


@pytest.mark.parametrize("name", SETS)
def test_secrets_that_are_named_are_made_or_the_users(name: str) -> None:
    """A Secret is one of the values, or rendered too, and has the key that is used."""
    documents = rendered(name)
    made = {
        document["metadata"]["name"]: set(document["data"])
        for document in documents
        if document["kind"] == "Secret"
    }
    values = json.dumps(SETS[name])
    for key in container_of(documents).get("env", ()):
        reference = key.get("valueFrom", {}).get("secretKeyRef")
        if reference is not None:
            _check_secret(reference["name"], {reference["key"]}, made, values)
    for volume in pod_of(documents)["volumes"]:
        if "secret" in volume:
            items = volume["secret"].get("items", ())
            keys = {item["key"] for item in items}
            _check_secret(volume["secret"]["secretName"], keys, made, values)


def _check_secret(
    name: str, keys: set[str], made: dict[str, set[str]], values: str
) -> None:
    if name in made:
        assert keys <= made[name]
    else:
        assert json.dumps(name) in values


def test_secrets_hold_what_was_said() -> None:
    """The token is kept to the letter, and the policy file means what was said."""
    token = only(rendered("token"), "Secret")["data"]["token"]
    policy = only(rendered("policy"), "Secret")["data"]["policy.yaml"]

    assert b"my-secret-token" == base64.b64decode(token)
    assert POLICY == yaml.safe_load(base64.b64decode(policy))


@pytest.mark.parametrize("name", SETS)
def test_the_pod_has_no_rights_that_it_does_not_need(name: str) -> None:
    """It runs as the image's user, on a file system that it can't write to."""
    pod, container = pod_of(rendered(name)), container_of(rendered(name))
    user = int(DOCKERFILE.last("USER").partition(":")[0])
    held = pod["securityContext"]

    assert (True, user, user) == (
        held["runAsNonRoot"],
        held["runAsUser"],
        held["fsGroup"],
    )
    assert "RuntimeDefault" == held["seccompProfile"]["type"]
    assert {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    } == container["securityContext"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["enableServiceLinks"] is False
    for document in rendered(name):
        if document["kind"] == "ServiceAccount":
            assert document["automountServiceAccountToken"] is False


@pytest.mark.parametrize("name", SETS)
def test_probes_speak_what_st8d_speaks(name: str) -> None:
    """HTTP or HTTPS as st8d does; from within where a certificate is asked for."""
    container = container_of(rendered(name))
    tls = SETS[name].get("tls", {})
    required = tls.get("clientCA", {}).get("auth") == "required"
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        path = "/readyz" if probe == "readinessProbe" else "/healthz"
        scheme = "HTTPS" if tls else "HTTP"
        expected: dict[str, Any] = {
            "httpGet": {"path": path, "port": "http", "scheme": scheme}
        }
        if required:
            expected = {"exec": {"command": DOCKERFILE.healthcheck()}}
        actual = {
            key: value
            for key, value in container[probe].items()
            if key in {"exec", "httpGet", "tcpSocket", "grpc"}
        }
        assert expected == actual


@pytest.mark.parametrize("name", SETS)
def test_ports_meet(name: str) -> None:
    """Service, policy and monitor lead to the port that st8d listens on."""
    documents = rendered(name)
    container = container_of(documents)
    service = only(documents, "Service")["spec"]
    labels = workload_of(documents)["template"]["metadata"]["labels"]

    assert [{"name": "http", "containerPort": 8748}] == container["ports"]
    assert ["http"] == [port["targetPort"] for port in service["ports"]]
    assert service["selector"].items() <= labels.items()
    for document in documents:
        if document["kind"] == "NetworkPolicy":
            (rule,) = document["spec"]["ingress"]
            assert ["http"] == [port["port"] for port in rule["ports"]]
            assert rule["from"]
        if document["kind"] == "ServiceMonitor":
            (endpoint,) = document["spec"]["endpoints"]
            scheme = "https" if "tls" in SETS[name] else "http"
            assert ("http", "/metrics") == (endpoint["port"], endpoint["path"])
            assert scheme == endpoint["scheme"]
            assert ("tlsConfig" in endpoint) == ("tls" in SETS[name])


def test_prometheus_calls_it_what_the_alerts_do() -> None:
    """Else the job is called as the release is, and no alert is of it."""
    alerts = (ROOT / "deploy" / "prometheus" / "alerts.yaml").read_text("utf-8")
    values = {"metrics": {"serviceMonitor": {"enabled": True}}}
    (endpoint,) = only(render(values), "ServiceMonitor")["spec"]["endpoints"]
    (job,) = set(re.findall(r'job="(\w+)"', alerts))

    assert [{"targetLabel": "job", "replacement": job}] == endpoint["relabelings"]


def test_prometheus_shows_a_token() -> None:
    """Where st8d wants a token, the monitor names the Secret that has one."""
    values = SETS["token"] | {"metrics": {"serviceMonitor": {"enabled": True}}}
    (endpoint,) = only(render(values), "ServiceMonitor")["spec"]["endpoints"]
    (other,) = only(rendered("mutual"), "ServiceMonitor")["spec"]["endpoints"]

    assert {"name": "demo-st8d-token", "key": "token"} == endpoint["authorization"][
        "credentials"
    ]
    assert {"name": "reader", "key": "token"} == other["authorization"]["credentials"]
    assert "prometheus" == other["tlsConfig"]["keySecret"]["name"]
    assert "demo-st8d.prod.svc" == other["tlsConfig"]["serverName"]


def test_there_is_one_pod_at_a_time() -> None:
    """One replica, and the old one is gone before the new one is made."""
    spec = only(rendered("nothing"), "StatefulSet")["spec"]

    assert 1 == spec["replicas"]
    assert "RollingUpdate" == spec["updateStrategy"]["type"]


def test_pods_that_share_a_store_are_replaced_while_others_serve() -> None:
    """As many as are wanted, on several nodes, of which never all go at once."""
    documents = rendered("store")
    deployment = only(documents, "Deployment")["spec"]
    pod = pod_of(documents)
    budget = only(documents, "PodDisruptionBudget")["spec"]
    kinds = {document["kind"] for document in rendered("store and token")}

    assert 3 == deployment["replicas"]
    assert {"maxSurge": 1, "maxUnavailable": 0} == deployment["strategy"][
        "rollingUpdate"
    ]
    assert 1 == budget["maxUnavailable"]
    (spread,) = pod["topologySpreadConstraints"]
    for selector in (budget["selector"], spread["labelSelector"]):
        assert deployment["selector"] == selector
    # One pod has no other that could serve meanwhile.
    assert "Deployment" in kinds
    assert "PodDisruptionBudget" not in kinds


def test_pods_that_share_a_store_hold_no_state() -> None:
    """There is no claim, and nothing but memory to write to."""
    for name in ("store", "store and token"):
        documents = rendered(name)
        volumes = pod_of(documents)["volumes"]
        kinds = {document["kind"] for document in documents}

        assert not kinds & {"StatefulSet", "PersistentVolumeClaim"}
        assert ["tmp"] == [v["name"] for v in volumes if "secret" not in v]


def test_the_url_of_a_store_is_taken_from_its_secret() -> None:
    """A URL with a password comes from a Secret, one without may be a value."""

    def store_of(name: str) -> dict[str, Any]:
        (found,) = [
            one
            for one in container_of(rendered(name))["env"]
            if one["name"] == "ST8D_STORE"
        ]
        return dict(found)

    assert {
        "name": "ST8D_STORE",
        "valueFrom": {"secretKeyRef": {"name": "database", "key": "uri"}},
    } == store_of("store")
    assert "postgresql://st8@db.prod:5432/st8" == store_of("store and token")["value"]


def test_state_outlives_the_release() -> None:
    """The claim is kept when the release is uninstalled, unless that is not wanted."""
    kept = only(rendered("nothing"), "PersistentVolumeClaim")["metadata"]
    other = only(rendered("everything"), "PersistentVolumeClaim")["metadata"]

    assert "keep" == kept["annotations"]["helm.sh/resource-policy"]
    assert {"a": "b"} == other["annotations"]
    sources: dict[str, dict[str, Any]] = {
        "nothing": {"persistentVolumeClaim": {"claimName": "demo-st8d"}},
        "secrets": {"persistentVolumeClaim": {"claimName": "disk"}},
        "fleeting": {"emptyDir": {}},
    }
    for name, source in sources.items():
        (state,) = [
            v for v in pod_of(rendered(name))["volumes"] if v["name"] == "state"
        ]
        assert {"name": "state"} | source == state
        claims = [d for d in rendered(name) if d["kind"] == "PersistentVolumeClaim"]
        assert (name == "nothing") == bool(claims)


def test_a_changed_secret_makes_a_new_pod() -> None:
    """The pod's template changes with the token and the policy, and not by itself."""

    def template(auth: dict[str, Any]) -> str:
        spec = only(render({"auth": auth}), "StatefulSet")["spec"]["template"]
        return json.dumps(spec, sort_keys=True)

    one, other = (template({"token": {"value": value}}) for value in ("one", "other"))
    again = template({"token": {"value": "one"}})
    policy = POLICY | {"protected": []}

    assert one == again
    assert one != other
    assert template({"policy": {"config": POLICY}}) != template(
        {"policy": {"config": policy}}
    )


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"replicaCount": 2}, "one daemon holds a state directory"),
        ({"replicaCount": 0}, "one daemon holds a state directory"),
        (
            {"store": {"url": "postgresql://db/st8", "existingSecret": "database"}},
            "store.url and store.existingSecret are both given",
        ),
        (
            {"store": {"url": "postgresql://st8:s3cret@db/st8"}},
            "store.url has a password",
        ),
        (
            {"store": {"url": "postgresql://db/st8?user=st8&password=s3cret"}},
            "store.url has a password",
        ),
        ({"store": {"url": "sqlite:/data"}}, "url"),
        (
            {
                "store": {"existingSecret": "database"},
                "persistence": {"existingClaim": "disk"},
            },
            "store and persistence.existingClaim are both given",
        ),
        ({"tls": {"enabled": True}}, "tls.enabled needs tls.existingSecret"),
        (
            {"tls": {"clientCA": {"existingSecret": "ca"}}},
            "tls.clientCA.existingSecret needs tls.enabled",
        ),
        (
            {"auth": {"token": {"value": "a", "existingSecret": "b"}}},
            "auth.token.value and auth.token.existingSecret are both given",
        ),
        (
            {"auth": {"policy": {"config": {"tokens": []}, "existingSecret": "b"}}},
            "auth.policy.config and auth.policy.existingSecret are both given",
        ),
        (
            {"tls": MUTUAL, "metrics": {"serviceMonitor": {"enabled": True}}},
            "metrics.serviceMonitor.tlsConfig needs cert and keySecret",
        ),
        ({"replicas": 1}, "replicas"),
        ({"tls": {"minVersion": "1.1"}}, "minVersion"),
        ({"image": {"digest": "latest"}}, "digest"),
    ],
)
def test_what_can_not_work_is_refused(values: dict[str, Any], sentence: str) -> None:
    """Values that no daemon could run with are refused before anything is changed."""
    with pytest.raises(RefusedError, match=re.escape(sentence)):
        render(values)


@pytest.mark.parametrize("name", SETS)
def test_lint_finds_nothing(name: str) -> None:
    """Helm's own check has nothing to say but advice."""
    assert [] == lint(SETS[name])


def test_notes_say_how_to_reach_it_and_warn() -> None:
    """After the installation one reads the address, and that nobody is kept out."""
    pytest.importorskip("helm_python", reason="the program shows no notes")
    open_notes, closed = (render_notes(SETS[name]) for name in ("fleeting", "token"))

    assert "http://demo-st8d.prod.svc:8748" in open_notes
    assert "whoever reaches it may read and change everything" in open_notes
    assert "gone with the pod" in open_notes
    assert "whoever reaches it" not in closed
    assert "gone with the pod" not in render_notes(
        SETS["store"] | {"persistence": {"enabled": False}}
    )
    assert "https://" in render_notes(SETS["tls"])


@pytest.mark.parametrize("name", SETS)
def test_st8d_starts_as_the_container_does(
    name: str, tmp_path: Path, postgres: PostgresServer
) -> None:
    """With what its volumes hold, st8d starts by the container's arguments."""
    documents = rendered(name)
    container = container_of(documents)
    for folder in ("tls", "client-ca", "policy", "data"):
        (tmp_path / folder).mkdir()
    certify(tmp_path / "tls")
    shutil.copy(tmp_path / "tls" / "ca.crt", tmp_path / "client-ca" / "ca.crt")
    policy = tmp_path / "policy" / "policy.yaml"
    policy.touch(mode=0o600)
    policy.write_text(yaml.safe_dump(POLICY), encoding="utf-8")
    arguments = [
        re.sub(r"=/(?:etc/st8d/)?(?=tls|client-ca|policy|data)", f"={tmp_path}/", flag)
        for flag in container["args"]
    ]
    arguments[arguments.index("--listen=:8748")] = "--listen=127.0.0.1:0"
    store = postgres.tcp_url(postgres.new_schema())
    variables = variables_of(container, store)
    command = [str(PROGRAMS / "st8d"), *arguments]

    with started(command, variables, tmp_path) as daemon:
        assert daemon.address
    assert ("store" not in SETS[name]) == (tmp_path / "data" / "st8.db").exists()


def _paths(value: Any, prefix: str = "") -> set[str]:
    """Return the path of every value of values.yaml, maps that are empty included."""
    if not isinstance(value, dict) or not value:
        return {prefix.removeprefix(".")}
    return {
        path
        for key, inner in value.items()
        for path in _paths(inner, f"{prefix}.{key}")
    }


def test_every_value_is_used_and_every_used_one_is_there() -> None:
    """values.yaml has what the templates read, and nothing else."""
    values = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    templates = "\n".join(
        path.read_text(encoding="utf-8") for path in (CHART / "templates").iterdir()
    )
    used = set(re.findall(r"(?:\.Values|\$values)\.([\w.]+)", templates))
    monitor = set(re.findall(r"\$monitor\.([\w]+)", templates))
    used |= {f"metrics.serviceMonitor.{name}" for name in monitor}

    assert [] == sorted(
        path
        for path in _paths(values)
        if not any(path == one or path.startswith(f"{one}.") for one in used)
    )
    assert [] == sorted(one for one in used if not _is_there(values, one))


def _is_there(values: dict[str, Any], path: str) -> bool:
    """Return whether values.yaml has a value at ``path``, or a free map above it."""
    found: Any = values
    for name in path.split("."):
        if found == {}:
            return True
        if name not in found:
            return False
        found = found[name]
    return True


def test_the_chart_is_of_this_version() -> None:
    """What is installed when nothing is said is what this project is."""
    from st8 import __version__

    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))

    assert __version__ == chart["appVersion"]
    assert f"st8d:{__version__}" == container_of(rendered("nothing"))["image"]
    assert (
        f"registry/st8d@sha256:{'b' * 64}"
        == container_of(rendered("everything"))["image"]
    )
