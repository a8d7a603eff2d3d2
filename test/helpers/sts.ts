import { createHash, createHmac } from 'node:crypto'
import type { StoreServer } from './store-server.ts'

/** Asks a MinIO for temporary credentials that may do what a policy says; they are to be put into an environment. */
export async function credentialsFor(
  { endpoint, environment }: Pick<StoreServer, 'endpoint' | 'environment'>,
  policy: object,
): Promise<Record<string, string>> {
  const question = {
    Action: 'AssumeRole',
    Version: '2011-06-15',
    DurationSeconds: '900',
    Policy: JSON.stringify(policy),
  }
  const body = new URLSearchParams(question).toString()
  const answer = await fetch(`${endpoint}/`, { method: 'POST', headers: signed(endpoint, environment, body), body })
  const text = await answer.text()
  const found = (name: string): string => {
    const value = new RegExp(`<${name}>([^<]+)</${name}>`).exec(text)?.[1]
    if (value === undefined) throw new Error(`no ${name} in the answer: ${text}`)
    return value
  }
  return {
    AWS_ACCESS_KEY_ID: found('AccessKeyId'),
    AWS_SECRET_ACCESS_KEY: found('SecretAccessKey'),
    AWS_SESSION_TOKEN: found('SessionToken'),
  }
}

/** Signature Version 4 of a question to the token service, which the SDK for S3 does not ask. */
function signed(endpoint: string, environment: StoreServer['environment'], body: string): Record<string, string> {
  const { AWS_ACCESS_KEY_ID: key = '', AWS_SECRET_ACCESS_KEY: secret = '' } = environment
  const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex')
  const hmac = (by: string | Buffer, text: string): Buffer => createHmac('sha256', by).update(text).digest()
  const time = new Date().toISOString().replace(/[-:]|\.\d+/g, '')
  const scope = `${time.slice(0, 8)}/us-east-1/sts/aws4_request`
  const headers = {
    'content-type': 'application/x-www-form-urlencoded',
    host: new URL(endpoint).host,
    'x-amz-date': time,
  }
  const names = Object.keys(headers).join(';')
  const lines = Object.entries(headers).map(([name, value]) => `${name}:${value}\n`)
  const request = ['POST', '/', '', lines.join(''), names, sha256(body)].join('\n')
  const text = ['AWS4-HMAC-SHA256', time, scope, sha256(request)].join('\n')
  const signing = scope.split('/').reduce<string | Buffer>((by, part) => hmac(by, part), `AWS4${secret}`)
  const signature = hmac(signing, text).toString('hex')
  const authorization = `AWS4-HMAC-SHA256 Credential=${key}/${scope}, SignedHeaders=${names}, Signature=${signature}`
  return { ...headers, authorization }
}
