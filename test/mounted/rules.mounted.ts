import { expect, test } from 'bun:test'
import { type Mounted, mountTable } from './harness.ts'

/** Another writer gives a table rules: numbered rows, `twice` follows from `n`, which has to be below 100. */
async function giveRules(m: Mounted): Promise<void> {
  const pathOf = (version: number): string => `_delta_log/${String(version).padStart(20, '0')}.json`
  const first = Buffer.from(await m.store.read(pathOf(0))).toString()
  const actions = first
    .trimEnd()
    .split('\n')
    .map(line => JSON.parse(line) as { metaData?: { schemaString: string; configuration: object } })
  const { metaData } = actions.find(action => action.metaData)!
  const schema = JSON.parse(metaData!.schemaString) as { fields: { name: string; metadata: object }[] }
  const rules: Record<string, object> = {
    id: { 'delta.identity.start': 1, 'delta.identity.step': 1, 'delta.identity.allowExplicitInsert': false },
    twice: { 'delta.generationExpression': 'n * 2' },
  }
  for (const field of schema.fields) field.metadata = rules[field.name] ?? {}
  const changed = {
    ...metaData,
    schemaString: JSON.stringify(schema),
    configuration: { ...metaData!.configuration, 'delta.constraints.small': 'n < 100' },
  }
  const commit = [{ protocol: { minReaderVersion: 1, minWriterVersion: 6 } }, { metaData: changed }]
  await m.store.write(pathOf(1), Buffer.from(commit.map(one => `${JSON.stringify(one)}\n`).join('')))
  // On S3 a version by others is seen within a second.
  while ((JSON.parse((await m.sh('cat .stats')).stdout) as { version: number }).version < 1) await Bun.sleep(50)
}

test('rules hold for shells and editors: a bad row fails in the program that wrote it', async () => {
  const m = await mountTable({ schema: 'id:Int64,n:Int32,twice:Int32,text:String' })
  await giveRules(m)
  expect(await m.sh('echo ,1,,a >> data/data.csv && echo ,2,4,b >> data/data.csv; cat data/data.csv')).toMatchObject({
    code: 0,
    stdout: 'id,n,twice,text\n1,1,2,a\n2,2,4,b\n',
  })
  // Bash's own echo does not look at what close() says.
  const bad = await m.sh('/bin/echo ,100,,c >> data/data.csv')
  expect(bad.code).not.toBe(0)
  expect(bad.stderr).toContain('Invalid argument')
  expect(await m.errors()).toContain(
    'row 1, {"id":3,"n":100,"twice":200,"text":"c"}: it breaks the CHECK constraint small: n < 100',
  )
  expect((await m.sh('sed -i s/,2,4,b/,200,4,b/ data/data.csv')).code).not.toBe(0)
  expect(await m.read()).toBe('id,n,twice,text\n1,1,2,a\n2,2,4,b\n')
  // The generated column follows, the number stays, and the new row gets the next one.
  expect((await m.sh(`sed -i 's/,2,4,b/,20,4,b/; $ a ,5,,d' data/data.csv; cat data/data.csv`)).stdout).toBe(
    'id,n,twice,text\n1,1,2,a\n2,20,40,b\n3,5,10,d\n',
  )
  const loop = 'for i in $(seq 20); do /bin/echo ",$i,," >> data/data.csv || exit 1; done'
  expect((await m.sh(`(${loop}) & (${loop}) & wait; cut -d, -f1 data/data.csv | sort -n | uniq -d`)).stdout).toBe('')
  expect((await m.sh('tail -n +2 data/data.csv | wc -l')).stdout.trim()).toBe('43')
  await m.close()
}, 120_000)
