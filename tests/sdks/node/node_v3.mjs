/** The story by `wechatpay-node-v3`: `node node_v3.mjs <key folder>`. It believes answers, and verifies callbacks. */
import Pay from 'wechatpay-node-v3'

import { play } from './story.mjs'

const THEIRS = 'https://api.mch.weixin.qq.com'

/** The SDK's own HTTP, told another host: it writes the real one into every URL. */
function moved(service, base_url) {
  const to = (url) => url.replace(THEIRS, base_url.replace(/\/$/, ''))
  return {
    get: (url, headers) => service.get(to(url), headers),
    post: (url, params, headers) => service.post(to(url), params, headers),
    upload: (url, params, headers) => service.upload(to(url), params, headers),
  }
}

async function answered(asked) {
  const { status, data, error } = await asked
  return { status, data: error ? JSON.parse(error) : data }
}

function open(keys) {
  // The serial is left to it: it reads the certificate and sends the number in lower case.
  const pay = new Pay({
    appid: keys.appid, mchid: keys.mchid, publicKey: keys.certificate, privateKey: keys.privateKey,
    key: keys.apiv3_key,
  })
  pay.createHttp(moved(pay.httpService, keys.base_url))
  if (keys.isPublicKeyMode) Pay.certificates[keys.platformKeyId] = keys.platformKey.toString()
  return {
    prepay: ({ appid, mchid, ...order }) => answered(pay.transactions_native(order)),
    query: (number) => answered(pay.query(number)),
    close: (out_trade_no) => answered(pay.close(out_trade_no)),
    refund: (refund) => answered(pay.refunds(refund)),
    queryRefund: (out_refund_no) => answered(pay.find_refunds(out_refund_no)),
    certificates: async () => (await pay.get_certificates(keys.apiv3_key)).map(({ serial_no }) => serial_no),
    hear: async (headers, body) => {
      const note = JSON.parse(body)
      const is_true = await pay.verifySign({
        timestamp: headers['wechatpay-timestamp'],
        nonce: headers['wechatpay-nonce'],
        serial: headers['wechatpay-serial'],
        signature: headers['wechatpay-signature'],
        body: note, // as its users have it, parsed: it writes it down again before it verifies
      })
      if (!is_true) throw new Error(`not signed by ${headers['wechatpay-serial']}`)
      const { ciphertext, associated_data, nonce } = note.resource
      return pay.decipher_gcm(ciphertext, associated_data, nonce)
    },
  }
}

await play(open)
