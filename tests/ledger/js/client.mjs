// A client of a localnet that shares no code with us: node client.mjs LOCALNET_JSON. Prints what it saw, as JSON.

import { readFileSync } from "node:fs";
import {
    AccountBalanceQuery,
    AccountCreateTransaction,
    AccountId,
    Client,
    Hbar,
    KeyList,
    PrivateKey,
    ScheduleCreateTransaction,
    ScheduleInfoQuery,
    ScheduleSignTransaction,
    Status,
    Timestamp,
    TopicCreateTransaction,
    TopicInfoQuery,
    TopicMessageQuery,
    TopicMessageSubmitTransaction,
    TransactionReceiptQuery,
    TransferTransaction,
} from "@hiero-ledger/sdk";

const SUBSCRIPTION_MS = 20_000;
const LONG = "roundabout ".repeat(300);

const told = JSON.parse(readFileSync(process.argv[2], "utf8"));

function clientOf(account, key) {
    const nodes = Object.fromEntries(
        Object.entries(told.nodes).map(([node, address]) => [address, AccountId.fromString(node)]),
    );
    const client = Client.forNetwork(nodes, { scheduleNetworkUpdate: false });
    client.setMirrorNetwork([told.mirror_grpc]);
    return client.setOperator(account, key);
}

const operator = AccountId.fromString(told.operator_account);
const client = clientOf(operator, PrivateKey.fromStringDer(told.operator_key));

async function statusOf(transaction, payer = client) {
    try {
        const response = await transaction.execute(payer);
        return (await response.getReceipt(payer)).status.toString();
    } catch (fault) {
        if (fault.status === undefined) throw fault;
        return fault.status.toString();
    }
}

async function createAccount(key, hbar) {
    const create = new AccountCreateTransaction().setKeyWithoutAlias(key).setInitialBalance(new Hbar(hbar));
    return (await (await create.execute(client)).getReceipt(client)).accountId;
}

// Everything of a topic from its beginning, until there are `count` whole messages.
function received(topic, count) {
    return new Promise((resolve, reject) => {
        const contents = [];
        const patience = setTimeout(() => reject(new Error(`${contents.length} messages`)), SUBSCRIPTION_MS);
        const handle = new TopicMessageQuery()
            .setTopicId(topic)
            .setStartTime(new Timestamp(0, 0))
            .subscribe(client, (_, fault) => reject(fault), (message) => {
                contents.push(Buffer.from(message.contents).toString());
                if (contents.length === count) {
                    clearTimeout(patience);
                    handle.unsubscribe();
                    resolve(contents);
                }
            });
    });
}

async function messages() {
    const submitKey = PrivateKey.generateED25519();
    const create = new TopicCreateTransaction().setTopicMemo("from JavaScript").setSubmitKey(submitKey);
    const topic = (await (await create.execute(client)).getReceipt(client)).topicId;
    const submit = (message) => new TopicMessageSubmitTransaction({ topicId: topic, message }).freezeWith(client);
    const unsigned = await statusOf(submit("no"));
    await (await (await submit("short").sign(submitKey)).execute(client)).getReceipt(client);
    const chunks = await (await submit(LONG).sign(submitKey)).executeAll(client);
    for (const chunk of chunks) await chunk.getReceipt(client);
    const [short, long] = await received(topic, 2);
    const info = await new TopicInfoQuery().setTopicId(topic).execute(client);
    return {
        topic: topic.toString(),
        unsigned,
        chunks: chunks.length,
        short,
        isLongWhole: long === LONG,
        memo: info.topicMemo,
        sequence: info.sequenceNumber.toNumber(),
        runningHash: Buffer.from(info.runningHash).toString("base64"),
    };
}

async function transfer() {
    const account = await createAccount(PrivateKey.generateECDSA().publicKey, 1);
    const pay = new TransferTransaction()
        .addHbarTransfer(operator, Hbar.fromTinybars(-700))
        .addHbarTransfer(account, Hbar.fromTinybars(700))
        .setTransactionMemo("payout 1");
    const record = await (await pay.execute(client)).getRecord(client);
    const balance = await new AccountBalanceQuery().setAccountId(account).execute(client);
    return {
        account: account.toString(),
        memo: record.transactionMemo,
        fee: record.transactionFee.toTinybars().toNumber(),
        moved: Object.fromEntries(record.transfers.map((t) => [t.accountId, t.amount.toTinybars().toNumber()])),
        balance: balance.hbars.toTinybars().toNumber(),
    };
}

async function schedule() {
    const keys = [PrivateKey.generateED25519(), PrivateKey.generateECDSA(), PrivateKey.generateED25519()];
    const treasury = await createAccount(new KeyList(keys.map((key) => key.publicKey), 2), 5);
    const inner = new TransferTransaction()
        .addHbarTransfer(treasury, Hbar.fromTinybars(-1_000))
        .addHbarTransfer(operator, Hbar.fromTinybars(1_000));
    const create = () => new ScheduleCreateTransaction().setScheduledTransaction(inner).setScheduleMemo("settle 1");
    const created = await (await create().execute(client)).getReceipt(client);
    const identical = await statusOf(create());
    const sign = async (key) => {
        const signing = new ScheduleSignTransaction().setScheduleId(created.scheduleId).freezeWith(client);
        return statusOf(await signing.sign(key));
    };
    const signings = [await sign(keys[0]), await sign(keys[0]), await sign(keys[1]), await sign(keys[2])];
    const info = await new ScheduleInfoQuery().setScheduleId(created.scheduleId).execute(client);
    const receipt = await new TransactionReceiptQuery()
        .setTransactionId(created.scheduledTransactionId)
        .execute(client);
    const balance = await new AccountBalanceQuery().setAccountId(treasury).execute(client);
    return {
        schedule: created.scheduleId.toString(),
        identical,
        signings,
        isExecuted: info.executed !== null,
        isSuccess: receipt.status === Status.Success,
        balance: balance.hbars.toTinybars().toNumber(),
    };
}

const seen = { messages: await messages(), transfer: await transfer(), schedule: await schedule() };
process.stdout.write(JSON.stringify(seen));
client.close();
process.exit(0);
