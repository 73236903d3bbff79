// A customer's program on the official Node SDK: starts and stops a stream, collects the refusals, and checks
// callbacks by the SDK's own verifier. One JSON task on stdin, one JSON report on stdout.
import Telnyx from 'telnyx';
import { TelnyxWebhook } from 'telnyx/lib/webhooks';

const refusal = async (promise) => {
  try {
    return { accepted: await promise };
  } catch (error) {
    return { status: error.status, body: error.error, kind: error.constructor.name };
  }
};

const streams = async (task) => {
  const client = new Telnyx({ apiKey: task.api_key, baseURL: task.base_url, maxRetries: 0 });
  const { calls } = client.texml.accounts;
  const account_sid = task.account_sid;
  const wanted = {
    account_sid,
    Url: task.url,
    Name: 'from node & back',
    Track: 'both_tracks',
    BidirectionalMode: 'rtp',
    StatusCallback: task.status_callback,
    StatusCallbackMethod: task.method,
  };
  const started = await calls.streamsJson(task.call_sid, wanted);
  const path = { account_sid, call_sid: task.call_sid };
  const second = await refusal(calls.streamsJson(task.call_sid, wanted));
  const stopped = await calls.streams.streamingSidJson(started.sid, path);
  const again = await calls.streams.streamingSidJson(started.sid, { ...path, Status: 'stopped' });
  const stranger = new Telnyx({ apiKey: 'KEYunknown', baseURL: task.base_url, maxRetries: 0 });
  return {
    started,
    second,
    stopped,
    again,
    no_url: await refusal(calls.streamsJson(task.call_sid, { account_sid })),
    bad_track: await refusal(calls.streamsJson(task.call_sid, { ...wanted, Track: 'sideways' })),
    no_call: await refusal(calls.streamsJson('v3:nobody', wanted)),
    no_key: await refusal(stranger.texml.accounts.calls.streamsJson(task.call_sid, wanted)),
  };
};

const signatures = async (task) => {
  const webhook = new TelnyxWebhook(task.public_key);
  const verdicts = [];
  for (const { body, headers } of task.callbacks) {
    verdicts.push(await webhook.verify(body, headers).then(() => 'good', (error) => error.message));
  }
  return verdicts;
};

let text = '';
for await (const chunk of process.stdin) text += chunk;
const task = JSON.parse(text);
const report = await { streams, signatures }[task.job](task);
process.stdout.write(JSON.stringify(report));
