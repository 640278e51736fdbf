// js-libp2p 3 wants Node 22; Node 20 lacks only these.
Promise.withResolvers ??= function () {
  let resolve, reject
  const promise = new Promise((yes, no) => { resolve = yes; reject = no })
  return { promise, resolve, reject }
}
globalThis.CustomEvent ??= class extends Event {
  constructor (type, init) { super(type, init); this.detail = init?.detail }
}
