/**
 * One story, told by every SDK: what a shop asks, what it hears, and what it is refused.
 *
 * An SDK is given as `open(keys)`, an object of `prepay`, `query`, `close`, `refund`, `queryRefund` and `certificates`,
 * each of which answers `{status, data}` also for errors, and of `hear(headers, body)`, which verifies a callback with
 * the SDK's own means and answers what was encrypted in it. `headers` are Node's: names in lower case.
 *
 * Every step is one JSON line on stdout. Somebody else pays the order of the line `to be paid`, and moves the clock
 * after the line `refused a callback`. Whatever is not as it should be ends the story with a stack trace and exit code 1.
 */
import assert from 'node:assert/strict'
import { generateKeyPairSync } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { join } from 'node:path'

const DESCRIPTION = '茉莉花茶 & more'
const ATTACH = 'table <7> & "window"/left'
const TOTAL = 1800

/** What `dewpond merchants create --out` wrote, as SDKs want it. */
function readKeys(folder) {
  const merchant = JSON.parse(readFileSync(join(folder, 'merchant.json'), 'utf8'))
  const isPublicKeyMode = merchant.key_mode === 'public-key'
  return {
    ...merchant,
    certificate: readFileSync(join(folder, 'apiclient_cert.pem')),
    privateKey: readFileSync(join(folder, 'apiclient_key.pem')),
    platformKey: readFileSync(join(folder, isPublicKeyMode ? 'pub_key.pem' : 'platform_cert.pem')),
    platformKeyId: isPublicKeyMode ? merchant.public_key_id : merchant.platform_serial_no,
    isPublicKeyMode,
  }
}

/** The shop's door for callbacks. */
class Door {
  /** What to answer next; 200 when it is empty. */
  answers = []
  /** Every attempt: its headers, the notification, what was encrypted. */
  heard = []
  #waiting = []
  #server

  constructor(sdk) {
    this.#server = createServer(async (request, response) => {
      const pieces = []
      for await (const piece of request) pieces.push(piece)
      const body = Buffer.concat(pieces).toString('utf8')
      try {
        const resource = await sdk.hear(request.headers, body)
        this.heard.push({ headers: request.headers, note: JSON.parse(body), resource })
        response.writeHead(this.answers.shift() ?? 200, { 'Content-Length': 0 }).end()
      } catch (error) {
        response.writeHead(401).end()
        this.#waiting.forEach(({ reject }) => reject(error))
      }
      this.#waiting = this.#waiting.filter(({ look }) => !look())
    })
  }

  async open() {
    await new Promise((opened) => this.#server.listen(0, '127.0.0.1', opened))
    return `http://127.0.0.1:${this.#server.address().port}/notify`
  }

  /** The attempts of a kind, once there are so many. */
  hears(kind, count = 1) {
    return new Promise((resolve, reject) => {
      const look = () => {
        const found = this.heard.filter(({ note }) => note.event_type === kind)
        if (found.length >= count) resolve(found)
        return found.length >= count
      }
      if (!look()) this.#waiting.push({ look, reject })
    })
  }

  close() {
    this.#server.close()
    this.#server.closeAllConnections()
  }
}

function tell(step, told = {}) {
  console.log(JSON.stringify({ step, ...told }))
}

function refused({ status, data }, expected, code) {
  assert.deepEqual([status, data.code], [expected, code], JSON.stringify(data))
  assert.equal(typeof data.message, 'string')
  return data
}

async function pay(sdk, keys, door, notify_url) {
  const out_trade_no = 'tea|0001*'
  const order = {
    appid: keys.appid, mchid: keys.mchid, description: DESCRIPTION, attach: ATTACH, out_trade_no, notify_url,
    amount: { total: TOTAL, currency: 'CNY' },
  }
  assert.equal((await sdk.prepay(order)).status, 200)
  assert.equal((await sdk.query({ out_trade_no })).data.trade_state, 'NOTPAY')
  const opened = await sdk.prepay(order)
  assert.equal(opened.status, 200, 'the same order again is answered again')
  refused(await sdk.prepay({ ...order, amount: { total: TOTAL + 1, currency: 'CNY' } }), 400, 'INVALID_REQUEST')

  door.answers.push(500)
  tell('to be paid', { out_trade_no, code_url: opened.data.code_url })
  await door.hears('TRANSACTION.SUCCESS')
  tell('refused a callback')
  const [first, second] = await door.hears('TRANSACTION.SUCCESS', 2)
  assert.deepEqual(second.note, first.note, 'the same notification')
  assert.notEqual(second.headers['wechatpay-signature'], first.headers['wechatpay-signature'], 'signed anew')
  assert.equal(first.headers['wechatpay-serial'], keys.platformKeyId)
  const told = second.resource

  const byTheirs = await sdk.query({ out_trade_no })
  const byOurs = await sdk.query({ transaction_id: told.transaction_id })
  assert.deepEqual([byTheirs.status, byTheirs.data], [200, told])
  assert.deepEqual(byOurs, byTheirs)
  assert.deepEqual([told.trade_state, told.trade_type, told.attach], ['SUCCESS', 'NATIVE', ATTACH])
  assert.deepEqual(told.amount, { total: TOTAL, payer_total: TOTAL, currency: 'CNY', payer_currency: 'CNY' })
  refused(await sdk.prepay(order), 400, 'ORDERPAID')
  refused(await sdk.close(out_trade_no), 400, 'ORDER_PAID')
  tell('paid', { told })
  return told
}

async function giveBack(sdk, door, notify_url, { transaction_id, out_trade_no }) {
  const out_refund_no = 'back|0001*@'
  const amount = { refund: 500, total: TOTAL, currency: 'CNY' }
  const asked = await sdk.refund({ out_trade_no, out_refund_no, reason: '茶凉了', notify_url, amount })
  assert.equal(asked.status, 200, JSON.stringify(asked.data))
  const [{ resource: told }] = await door.hears('REFUND.SUCCESS')
  assert.deepEqual([told.out_refund_no, told.refund_status], [out_refund_no, 'SUCCESS'])
  assert.deepEqual(told.amount, { total: TOTAL, refund: 500, payer_total: TOTAL, payer_refund: 500 })

  const found = await sdk.queryRefund(out_refund_no)
  assert.deepEqual([found.status, found.data.status, found.data.refund_id], [200, 'SUCCESS', told.refund_id])
  assert.equal((await sdk.query({ out_trade_no })).data.trade_state, 'REFUND')
  const more = { transaction_id, out_refund_no: 'back-0002', amount: { ...amount, refund: TOTAL - 499 } }
  refused(await sdk.refund(more), 400, 'INVALID_REQUEST')
  tell('given back', { told })
}

async function closeOne(sdk, keys, notify_url) {
  const out_trade_no = 'tea|0002*'
  const order = {
    appid: keys.appid, mchid: keys.mchid, description: DESCRIPTION, out_trade_no, notify_url,
    amount: { total: TOTAL, currency: 'CNY' },
  }
  assert.equal((await sdk.prepay(order)).status, 200)
  assert.equal((await sdk.close(out_trade_no)).status, 204)
  assert.equal((await sdk.query({ out_trade_no })).data.trade_state, 'CLOSED')
  refused(await sdk.prepay(order), 400, 'ORDER_CLOSED')
  tell('closed', { out_trade_no })
}

async function beRefused(sdk, keys, notify_url, open) {
  refused(await sdk.query({ out_trade_no: 'nobody-knows' }), 404, 'ORDER_NOT_EXIST')
  refused(await sdk.query({ transaction_id: '4200000000202601010000000000' }), 404, 'ORDER_NOT_EXIST')
  refused(await sdk.queryRefund('nobody-knows'), 404, 'RESOURCE_NOT_EXISTS')
  const order = {
    appid: keys.appid, mchid: keys.mchid, description: DESCRIPTION, out_trade_no: 'tea-0003', notify_url,
    amount: { total: '1800', currency: 'CNY' },
  }
  const { detail } = refused(await sdk.prepay(order), 400, 'PARAM_ERROR')
  assert.equal(detail.field, '/amount/total')

  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
  const stranger = open({ ...keys, privateKey: Buffer.from(privateKey.export({ type: 'pkcs8', format: 'pem' })) })
  refused(await stranger.query({ out_trade_no: 'tea-0003' }), 401, 'SIGN_ERROR')
  tell('refused', { detail })
}

/** Tell the story with the key folder of the command line. */
export async function play(open) {
  const keys = readKeys(process.argv[2])
  const sdk = open(keys)
  const door = new Door(sdk)
  try {
    const notify_url = await door.open()
    tell('bootstrapped', { serials: await sdk.certificates() })
    await assert.rejects(open({ ...keys, apiv3_key: '0'.repeat(32) }).certificates(), 'decrypted with a wrong key')
    const told = await pay(sdk, keys, door, notify_url)
    await giveBack(sdk, door, notify_url, told)
    await closeOne(sdk, keys, notify_url)
    await beRefused(sdk, keys, notify_url, open)
    assert.deepEqual(door.heard.map(({ note }) => note.event_type), [
      'TRANSACTION.SUCCESS', 'TRANSACTION.SUCCESS', 'REFUND.SUCCESS',
    ])
    tell('the end')
  } finally {
    door.close()
  }
}
