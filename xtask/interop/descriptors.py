"""Compares our descriptor set field by field with that of the PyPI package `flyteidl2`.

usage: descriptors.py <descriptor.bin>
"""

import importlib
import importlib.metadata
from pathlib import Path

import checks
from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor, ServiceDescriptor

# Declared only for the enum inside; its fields are not part of the connector protocol.
ENUM_HOLDERS = {"flyteidl2.core.ExecutionError"}

SERVICES = [
    "flyteidl2.connector.AsyncConnectorService",
    "flyteidl2.connector.ConnectorMetadataService",
]

# Needed to read error.pb; not reachable from a service.
EXTRA_MESSAGES = ["flyteidl2.core.ErrorDocument", "flyteidl2.core.ContainerError"]


def field(it: FieldDescriptor) -> dict[str, object]:
    """Returns the properties of a field that affect encoding and use."""
    oneof = it.containing_oneof
    return {
        "number": it.number,
        "repeated": it.is_repeated,
        "required": it.is_required,
        "type": it.type,
        "message": it.message_type.full_name if it.message_type else None,
        "enum": it.enum_type.full_name if it.enum_type else None,
        "oneof": oneof.name if oneof else None,
        # A proto3 `optional` field is a synthetic oneof with one field.
        "presence": it.has_presence,
        "packed": it.is_packed,
        "json_name": it.json_name,
        "default": it.default_value if not it.is_repeated else None,
        "deprecated": it.GetOptions().deprecated,
    }


def message(it: Descriptor) -> dict[str, object]:
    """Returns the properties of a message, without its fields."""
    proto = descriptor_pb2.DescriptorProto()
    it.CopyToProto(proto)
    return {
        "file": it.file.name,
        "oneofs": [oneof.name for oneof in it.oneofs],
        "map entry": it.GetOptions().map_entry,
        "deprecated": it.GetOptions().deprecated,
        "reserved names": sorted(proto.reserved_name),
        "reserved ranges": sorted((r.start, r.end) for r in proto.reserved_range),
    }


def enum(it: EnumDescriptor) -> dict[str, object]:
    """Returns the properties of an enum."""
    return {
        "file": it.file.name,
        "values": [(value.name, value.number, value.GetOptions().deprecated) for value in it.values],
        "closed": it.is_closed,
        "deprecated": it.GetOptions().deprecated,
    }


def service(it: ServiceDescriptor) -> dict[str, object]:
    """Returns the methods of a service, without HTTP annotations."""
    return {
        method.name: (
            method.input_type.full_name,
            method.output_type.full_name,
            method.client_streaming,
            method.server_streaming,
            method.GetOptions().deprecated,
        )
        for method in it.methods
    }


def differences(what: str, ours: dict[str, object], theirs: dict[str, object]) -> list[str]:
    """Returns one line per key that differs."""
    return [
        f"{what}: {key} is {ours.get(key, 'missing')!r} here, {theirs.get(key, 'missing')!r} there"
        for key in sorted(ours.keys() | theirs.keys(), key=str)
        if ours.get(key) != theirs.get(key)
    ]


def compare_message(ours: Descriptor, theirs: Descriptor) -> list[str]:
    """Returns the differences of two messages and their fields."""
    found = []
    if ours.full_name not in ENUM_HOLDERS:
        found += differences(ours.full_name, message(ours), message(theirs))
        for name in sorted({*ours.fields_by_name, *theirs.fields_by_name}):
            path = f"{ours.full_name}.{name}"
            if name not in ours.fields_by_name:
                found.append(f"{path}: missing here")
            elif name not in theirs.fields_by_name:
                found.append(f"{path}: missing there")
            else:
                found += differences(path, field(ours.fields_by_name[name]), field(theirs.fields_by_name[name]))
    return found


def messages(parent: Descriptor) -> list[Descriptor]:
    """Returns a message and all nested messages, map entries included."""
    return [parent] + [inner for child in parent.nested_types for inner in messages(child)]


def reachable(start: list[Descriptor]) -> set[str]:
    """Returns the names of the flyteidl2 messages reachable from `start`."""
    todo, seen = list(start), set()
    while todo:
        it = todo.pop()
        if it.full_name in seen or not it.full_name.startswith("flyteidl2."):
            continue
        seen.add(it.full_name)
        todo += [f.message_type for f in it.fields if f.message_type]
    return seen


def program(arguments: list[str]) -> None:
    """Loads both descriptor sets and compares them."""
    checks.note(f"PyPI flyteidl2 {importlib.metadata.version('flyteidl2')}")
    files = descriptor_pb2.FileDescriptorSet.FromString(Path(arguments[0]).read_bytes())
    ours, theirs = descriptor_pool.DescriptorPool(), descriptor_pool.Default()
    for file in files.file:
        ours.Add(file)
        if file.name.startswith("flyteidl2/"):
            importlib.import_module(file.name.removesuffix(".proto").replace("/", ".") + "_pb2")

    declared: dict[str, Descriptor] = {}
    enums: dict[str, EnumDescriptor] = {}
    for file in files.file:
        if file.name.startswith("flyteidl2/"):
            loaded = ours.FindFileByName(file.name)
            enums |= {it.full_name: it for it in loaded.enum_types_by_name.values()}
            for top in loaded.message_types_by_name.values():
                for it in messages(top):
                    declared[it.full_name] = it
                    enums |= {inner.full_name: inner for inner in it.enum_types}

    found: list[str] = []
    for name, it in sorted(declared.items()):
        try:
            found += compare_message(it, theirs.FindMessageTypeByName(name))
        except KeyError:
            found.append(f"{name}: missing there")
    for name, it in sorted(enums.items()):
        try:
            found += differences(name, enum(it), enum(theirs.FindEnumTypeByName(name)))
        except KeyError:
            found.append(f"{name}: missing there")

    start = [theirs.FindMessageTypeByName(name) for name in EXTRA_MESSAGES]
    for name in SERVICES:
        with checks.section(f"service {name} exists on both sides"):
            it = theirs.FindServiceByName(name)
            start += [t for method in it.methods for t in (method.input_type, method.output_type)]
            wrong = differences(name, service(ours.FindServiceByName(name)), service(it))
            checks.equal(f"{name}: the methods, their types and their streaming are equal", wrong, [])

    for line in found:
        checks.holds(line, False)
    fields = sum(len(it.fields) for name, it in declared.items() if name not in ENUM_HOLDERS)
    checks.equal(f"{len(declared)} messages with {fields} fields, and {len(enums)} enums, are equal", len(found), 0)
    checks.equal("every message reachable from the package's services is declared here", sorted(reachable(start) - declared.keys()), [])
    checks.holds("the comparison detects a changed field number", detects_change(files))


def detects_change(files: descriptor_pb2.FileDescriptorSet) -> bool:
    """Changes a field number in a copy; true if the comparison with the original finds it."""
    changed = descriptor_pb2.FileDescriptorSet()
    changed.CopyFrom(files)
    for file in changed.file:
        for it in file.message_type:
            if (file.package, it.name) == ("flyteidl2.core", "Connection"):
                it.field[0].number = 19
    pools = [descriptor_pool.DescriptorPool(), descriptor_pool.DescriptorPool()]
    for pool, content in zip(pools, (files, changed), strict=True):
        for file in content.file:
            pool.Add(file)
    return bool(compare_message(*(pool.FindMessageTypeByName("flyteidl2.core.Connection") for pool in pools)))


if __name__ == "__main__":
    checks.main(program)
