// Which names does IPFS give to the files and directories of tests/protocols/transfer/test_unixfs.py?
// Reads cases as JSON lines on stdin, writes one CID per line: {"file": size, "chunk": n, "width": n} or {"tree": [[path, size|null], ...]}.
import { createInterface } from 'node:readline'
import { importer } from 'ipfs-unixfs-importer'
import { fixedSize } from 'ipfs-unixfs-importer/chunker'
import { balanced } from 'ipfs-unixfs-importer/layout'
import { MemoryBlockstore } from 'blockstore-core'

// devnet.sim.trees.pattern
function pattern (size) {
  const bytes = new Uint8Array(size)
  for (let i = 0; i < size; i++) bytes[i] = (i * 31 + (i >> 8) * 7 + (i >> 16) * 13) & 255
  return bytes
}

async function name (sources, chunkSize, maxChildrenPerNode) {
  const options = {
    cidVersion: 1,
    rawLeaves: true,
    reduceSingleLeafToSelf: true,
    wrapWithDirectory: false,
    chunker: fixedSize({ chunkSize }),
    layout: balanced({ maxChildrenPerNode })
  }
  let last
  for await (const entry of importer(sources, new MemoryBlockstore(), options)) last = entry
  return last.cid.toString()
}

for await (const line of createInterface({ input: process.stdin })) {
  const want = JSON.parse(line)
  const sources = want.tree === undefined
    ? [{ path: 'f', content: pattern(want.file) }]
    : want.tree.map(([path, size]) => size === null ? { path } : { path, content: pattern(size) })
  console.log(await name(sources, want.chunk ?? 262144, want.width ?? 174))
}
