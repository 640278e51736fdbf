// Can another libp2p implementation join? Dials the address in argv[2] with a secp256k1 key, joins the topic in argv[3],
// and prints one line of JSON per thing that happened; exits 0 when a record came, one was sent, and a call was answered.
import './polyfill.mjs'
import { createLibp2p } from 'libp2p'
import { tcp } from '@libp2p/tcp'
import { noise } from '@chainsafe/libp2p-noise'
import { yamux } from '@chainsafe/libp2p-yamux'
import { gossipsub } from '@libp2p/gossipsub'
import { identify } from '@libp2p/identify'
import { ping } from '@libp2p/ping'
import { generateKeyPair } from '@libp2p/crypto/keys'
import { multiaddr } from '@multiformats/multiaddr'

const [address, topic, callProtocol] = process.argv.slice(2)
const say = (what, more = {}) => console.log(JSON.stringify({ what, ...more }))
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

const node = await createLibp2p({
  privateKey: await generateKeyPair('secp256k1'),
  addresses: { listen: [] },
  transports: [tcp()],
  connectionEncrypters: [noise()],
  streamMuxers: [yamux()],
  services: { identify: identify(), ping: ping(), pubsub: gossipsub({ globalSignaturePolicy: 'StrictSign' }) }
})
const pubsub = node.services.pubsub
const record = new Promise((resolve) => {
  pubsub.addEventListener('gossipsub:message', ({ detail }) => {
    if (detail.msg.topic === topic) resolve(detail.msg)
  })
})
pubsub.subscribe(topic)
const connection = await node.dial(multiaddr(address))
say('connected', { me: node.peerId.toString(), muxer: connection.multiplexer, encryption: connection.encryption })

const message = await record
const hex = (bytes) => Buffer.from(bytes).toString('hex')
say('record', { type: message.type, from: message.from?.toString(), data: hex(message.data) })

for (let tries = 0; pubsub.getMeshPeers(topic).length === 0 && tries < 100; tries++) await sleep(100)
say('mesh', { peers: pubsub.getMeshPeers(topic).map(String) })
await pubsub.publish(topic, new TextEncoder().encode('record of ' + node.peerId))
say('published')
say('ping', { ms: await node.services.ping.ping(connection.remotePeer) })

// One call: length, number, kind 0, body; the answer comes as kind 1.
const stream = await connection.newStream(callProtocol)
const body = new TextEncoder().encode('hello')
const frame = new Uint8Array(9 + body.length)
new DataView(frame.buffer).setUint32(0, body.length + 5)
new DataView(frame.buffer).setUint32(4, 7)
frame.set(body, 9)
stream.send(frame)
let answer = Buffer.alloc(0)
for await (const chunk of stream) {
  answer = Buffer.concat([answer, Buffer.from(chunk.subarray())])
  if (answer.length >= 9 && answer.length >= 4 + answer.readUInt32BE(0)) break
}
say('answer', { number: answer.readUInt32BE(4), kind: answer[8], body: answer.subarray(9).toString() })
await sleep(1000) // the record we published must leave before we do
await node.stop()
process.exit(0)
