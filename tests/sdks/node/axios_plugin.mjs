/** The story by `wechatpay-axios-plugin`: `node axios_plugin.mjs <key folder>`. It verifies every answer itself. */
import { Aes, Formatter, Rsa, Wechatpay } from 'wechatpay-axios-plugin'

import { play } from './story.mjs'

/** An answer, or the error that axios makes of a refusal; what the SDK itself refuses to believe stays an error. */
async function answered(asked) {
  try {
    const { status, data } = await asked
    return { status, data }
  } catch (error) {
    if (!error.response || error.response.status < 400) throw error
    return { status: error.response.status, data: error.response.data }
  }
}

/**
 * The platform's certificates, as `wxpay crt` would have them: decrypted first, then the answer is verified with them.
 * That program itself cannot (0.9.6): it gives what it decrypts to a map of which the client has taken a copy.
 */
async function download({ base_url: baseURL, mchid, serial_no: serial, privateKey, apiv3_key }) {
  const config = { baseURL, mchid, serial, privateKey, certs: { any: undefined } }
  const { client, v3 } = new Wechatpay(config)
  const decrypt = (answer) => {
    for (const { serial_no, encrypt_certificate: { nonce, associated_data, ciphertext } } of JSON.parse(answer).data) {
      config.certs[serial_no] = Aes.AesGcm.decrypt(ciphertext, apiv3_key, nonce, associated_data)
    }
    return answer
  }
  const { data } = await v3.certificates.get({ transformResponse: [decrypt, ...client.v3.defaults.transformResponse] })
  return data.data.map(({ serial_no }) => serial_no)
}

function open(keys) {
  const certs = { [keys.platformKeyId]: keys.platformKey }
  const { v3 } = new Wechatpay({
    baseURL: keys.base_url, mchid: keys.mchid, serial: keys.serial_no, privateKey: keys.privateKey, certs,
  })
  const params = { mchid: keys.mchid }
  return {
    prepay: (order) => answered(v3.pay.transactions.native.post(order)),
    query: ({ transaction_id, out_trade_no }) => answered(
      transaction_id
        ? v3.pay.transactions.id.$transaction_id$.get({ params, transaction_id })
        : v3.pay.transactions.outTradeNo.$out_trade_no$.get({ params, out_trade_no }),
    ),
    close: (out_trade_no) => answered(
      v3.pay.transactions.outTradeNo.$out_trade_no$.close.post({ mchid: keys.mchid }, { out_trade_no }),
    ),
    refund: (refund) => answered(v3.refund.domestic.refunds.post(refund)),
    queryRefund: (out_refund_no) => answered(v3.refund.domestic.refunds.$out_refund_no$.get({ out_refund_no })),
    certificates: () => download(keys),
    hear: async (headers, body) => {
      const [timestamp, nonce, serial, signature] = ['timestamp', 'nonce', 'serial', 'signature'].map(
        (name) => headers[`wechatpay-${name}`],
      )
      if (Math.abs(Formatter.timestamp() - timestamp) > 300) throw new Error(`${timestamp} is not now`)
      if (!Rsa.verify(Formatter.response(timestamp, nonce, body), signature, certs[serial])) {
        throw new Error(`not signed by ${serial}`)
      }
      const { resource: { ciphertext, nonce: iv, associated_data } } = JSON.parse(body)
      return JSON.parse(Aes.AesGcm.decrypt(ciphertext, keys.apiv3_key, iv, associated_data))
    },
  }
}

await play(open)
