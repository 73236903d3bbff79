// A customer's program on the official Node SDK: starts and stops a stream, places and ends a call, makes and deletes
// TeXML applications, collects the refusals, and checks callbacks by the SDK's own verifier and by Node's crypto. One JSON task on stdin, one JSON report
// on stdout.
import { createPublicKey, verify } from 'node:crypto';
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
  const unauthorized = new Telnyx({ apiKey: 'KEYunknown', baseURL: task.base_url, maxRetries: 0 });
  return {
    started,
    second,
    stopped,
    again,
    no_url: await refusal(calls.streamsJson(task.call_sid, { account_sid })),
    bad_track: await refusal(calls.streamsJson(task.call_sid, { ...wanted, Track: 'sideways' })),
    no_call: await refusal(calls.streamsJson('v3:unknown', wanted)),
    no_key: await refusal(unauthorized.texml.accounts.calls.streamsJson(task.call_sid, wanted)),
  };
};

const place = async (task) => {
  const client = new Telnyx({ apiKey: task.api_key, baseURL: task.base_url, maxRetries: 0 });
  const { calls } = client.texml.accounts;
  const account_sid = task.account_sid;
  const { To, ...rest } = task.order;
  const placed = await calls.calls(account_sid, { body: task.order });
  return {
    placed,
    fetched: await calls.retrieve(placed.sid, { account_sid }),
    listed: await calls.retrieveCalls(account_sid, { To, PageSize: 5 }),
    no_to: await refusal(calls.calls(account_sid, { body: rest })),
    no_trunk: await refusal(calls.calls(account_sid, { body: { ...rest, To: '+999' } })),
  };
};

const recordings = async (task) => {
  const client = new Telnyx({ apiKey: task.api_key, baseURL: task.base_url, maxRetries: 0 });
  const { calls, recordings } = client.texml.accounts;
  const { account_sid, call_sid } = task;
  const started = await calls.recordingsJson.recordingsJson(call_sid, {
    account_sid,
    PlayBeep: false,
    RecordingTrack: 'inbound',
    RecordingStatusCallback: task.status_callback,
    RecordingStatusCallbackEvent: 'completed absent',
  });
  const change = (Status) => calls.recordings.recordingSidJson(started.sid, { account_sid, call_sid, Status });
  await change('paused');
  const paused = await recordings.json.retrieveRecordingSidJson(started.sid, { account_sid });
  const { recordings: listed } = await calls.recordingsJson.retrieveRecordingsJson(call_sid, { account_sid });
  const under_way = await refusal(recordings.json.deleteRecordingSidJson(started.sid, { account_sid }));
  await change('in-progress');
  await change('stopped');
  return { started, paused, listed: listed.map((one) => one.sid), under_way };
};

const deleteRecording = async (task) => {
  const client = new Telnyx({ apiKey: task.api_key, baseURL: task.base_url, maxRetries: 0 });
  const { json } = client.texml.accounts.recordings;
  const path = { account_sid: task.account_sid };
  await json.deleteRecordingSidJson(task.recording_sid, path);
  return { again: await refusal(json.retrieveRecordingSidJson(task.recording_sid, path)) };
};

const end = async (task) => {
  const client = new Telnyx({ apiKey: task.api_key, baseURL: task.base_url, maxRetries: 0 });
  const { calls } = client.texml.accounts;
  const wanted = { account_sid: task.account_sid, Status: 'completed' };
  const ended = await calls.update(task.call_sid, wanted);
  return { ended, again: await refusal(calls.update(task.call_sid, wanted)) };
};

const applications = async (task) => {
  const client = new Telnyx({ apiKey: task.api_key, baseURL: task.base_url, maxRetries: 0 });
  const texml = client.texmlApplications;
  const { data: made } = await texml.create({ ...task.wanted, friendly_name: 'from node' });
  const { data: fetched } = await texml.retrieve(made.id);
  const changes = { friendly_name: 'changed', voice_url: made.voice_url, inbound: { channel_limit: 3 } };
  const { data: updated } = await texml.update(made.id, changes);
  const listed = [];
  for await (const one of texml.list({ 'page[size]': 1, sort: 'friendly_name' })) listed.push(one.friendly_name);
  const { data: deleted } = await texml.delete(made.id);
  return {
    made,
    fetched,
    updated,
    listed,
    deleted,
    gone: await refusal(texml.retrieve(made.id)),
    configured: await refusal(texml.delete(task.configured)),
    no_url: await refusal(texml.create({ friendly_name: 'x' })),
  };
};

// RFC 8410: what precedes the 32 bytes of an Ed25519 key in its DER form.
const ED25519 = Buffer.from('302a300506032b6570032100', 'hex');

const signatures = async (task) => {
  const webhook = new TelnyxWebhook(task.public_key);
  const der = Buffer.concat([ED25519, Buffer.from(task.public_key, 'base64')]);
  const key = createPublicKey({ key: der, format: 'der', type: 'spki' });
  const verdicts = [];
  for (const { body, headers } of task.callbacks) {
    const signed = Buffer.from(`${headers['telnyx-timestamp']}|${body}`);
    const good = verify(null, signed, key, Buffer.from(headers['telnyx-signature-ed25519'], 'base64'));
    const verdict = await webhook.verify(body, headers).then(() => 'good', (error) => error.message);
    verdicts.push(good === (verdict === 'good') ? verdict : `crypto says ${good}, the SDK ${verdict}`);
  }
  return verdicts;
};

let text = '';
for await (const chunk of process.stdin) text += chunk;
const task = JSON.parse(text);
const jobs = { streams, place, end, recordings, deleteRecording, applications, signatures };
const report = await jobs[task.job](task);
process.stdout.write(JSON.stringify(report));
