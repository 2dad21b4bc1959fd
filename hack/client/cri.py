#!/usr/bin/env python3
"""Call containerd by the Kubernetes Container Runtime Interface, as a kubelet does.

usage: cri.py SOCKET METHOD REQUEST

REQUEST is JSON whose keys are the numbers of the protobuf fields in CRI v1 (k8s.io/cri-api api.proto): no generated code,
and no package of Kubernetes, is needed for it. Prints the answer in the same form.
"""
import json
import sys

import grpc


def varint(number):
    number &= (1 << 64) - 1
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def encode(message):
    """A message as bytes. A list is a repeated field, an object a nested message."""
    out = b""
    for number, value in message.items():
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, (bool, int)):
                out += varint(int(number) << 3) + varint(int(item))
            else:
                data = encode(item) if isinstance(item, dict) else item.encode()
                out += varint(int(number) << 3 | 2) + varint(len(data)) + data
    return out


def decode(data):
    """A message by field numbers. What holds text is text, other bytes are a nested message; so is what begins with a
    newline, which is how the key of a first field that is text or a message looks."""
    message, at = {}, 0

    def number():
        nonlocal at
        value = shift = 0
        while True:
            value |= (data[at] & 127) << shift
            shift += 7
            at += 1
            if data[at - 1] < 128:
                return value

    while at < len(data):
        key = number()
        if key & 7 == 0:
            value = number()
        elif key & 7 == 2:
            size = number()
            part, at = data[at:at + size], at + size
            if len(part) < size:
                raise ValueError("cut off")
            try:
                value = part.decode()
                if value.startswith("\n") or not all(c.isprintable() or c in "\n\t\r" for c in value):
                    raise ValueError("not text")
            except ValueError:
                value = decode(part)
        else:
            raise ValueError(f"wire type {key & 7}")
        message.setdefault(str(key >> 3), []).append(value)
    return {key: values[0] if len(values) == 1 else values for key, values in message.items()}


def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    socket, method, request = sys.argv[1:]
    service = "ImageService" if "Image" in method else "RuntimeService"
    with grpc.insecure_channel(f"unix://{socket}") as channel:
        call = channel.unary_unary(f"/runtime.v1.{service}/{method}", request_serializer=encode, response_deserializer=decode)
        try:
            print(json.dumps(call(json.loads(request), timeout=60)))
        except grpc.RpcError as error:
            sys.exit(f"{method}: {error.code().name}: {error.details()}")


main()
