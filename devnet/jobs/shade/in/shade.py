"""What do two balls in the light of the sun look like?  Casts a ray for each pixel; writes /out/scene.png."""

import binascii
import math
import struct

WIDTH, HEIGHT = 96, 72
SUN = (-0.48, 0.64, -0.6)
BALLS = (((-0.7, 0.1, 3.2), 0.9, (214, 92, 60)), ((0.85, -0.25, 2.6), 0.6, (70, 120, 200)))
"""Centre, radius, colour."""


def light(ray: tuple[float, ...]) -> tuple[int, ...]:
    """What the eye sees along a ray from the origin."""
    nearest, seen = math.inf, None
    for centre, radius, colour in BALLS:
        along = sum(a * b for a, b in zip(ray, centre))
        gap = along * along - sum(a * a for a in centre) + radius * radius
        if gap > 0 and 0 < along - math.sqrt(gap) < nearest:
            nearest = along - math.sqrt(gap)
            normal = [(nearest * a - b) / radius for a, b in zip(ray, centre)]
            bright = 0.15 + 0.85 * max(0.0, sum(a * b for a, b in zip(normal, SUN)))
            seen = tuple(int(one * bright) for one in colour)
    if seen:
        return seen
    if ray[1] < -0.12:
        x, z = ray[0] / -ray[1], ray[2] / -ray[1]
        return (190, 180, 150) if (math.floor(x) + math.floor(z)) % 2 else (90, 80, 60)
    return tuple(int(one * (0.55 + 0.45 * ray[1])) for one in (150, 190, 255))


def chunk(kind: bytes, body: bytes) -> bytes:
    """One part of a PNG file."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", binascii.crc32(kind + body))


def stored(data: bytes) -> bytes:
    """A zlib stream that packs nothing (RFC 1950 and 1951)."""
    out, a, b = b"\x78\x01", 1, 0
    for at in range(0, len(data), 65535):
        part = data[at : at + 65535]
        out += struct.pack("<BHH", at + 65535 >= len(data), len(part), 65535 - len(part)) + part
    for one in data:
        a = (a + one) % 65521
        b = (b + a) % 65521
    return out + struct.pack(">HH", b, a)


rows = bytearray()
for line in range(HEIGHT):
    rows.append(0)
    for column in range(WIDTH):
        ray = ((column + 0.5) * 2 / WIDTH - 1, (HEIGHT - 2 * line - 1) / WIDTH, 1.4)
        length = math.sqrt(sum(one * one for one in ray))
        rows.extend(bytes(light(tuple(one / length for one in ray))))

with open("/out/scene.png", "wb") as out:
    out.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, 2, 0, 0, 0)))
    out.write(chunk(b"IDAT", stored(bytes(rows))) + chunk(b"IEND", b""))
print(f"{WIDTH} x {HEIGHT} pixels")
