"use strict";

const SESSION = "page";
const FIRST_RETRY_MS = 500;
const LAST_RETRY_MS = 15000;

const byId = (id) => document.getElementById(id);
const log = byId("log");
let socket = null;
let seen = 0;
let answer = null;
let retry = FIRST_RETRY_MS;

function download(file) {
  const link = document.createElement("a");
  link.href = file.path;
  link.download = file.filename;
  link.textContent = file.filename || file.path;
  line("note", "").append(link);
}

function line(kind, text) {
  const p = document.createElement("p");
  p.className = kind;
  p.textContent = text;
  log.append(p);
  window.scrollTo(0, document.body.scrollHeight);
  return p;
}

function state(text, open) {
  byId("state").textContent = text;
  byId("state").dataset.state = open ? "open" : "waiting";
  byId("send").disabled = !open;
}

function running(now) {
  byId("stop").hidden = !now;
}

function show(frame) {
  if (typeof frame.seq === "number") {
    if (frame.seq <= seen) return;
    seen = frame.seq;
  }
  switch (frame.type) {
    case "message":
      line("user", frame.text);
      answer = null;
      running(true);
      break;
    case "queued":
      line("note", `waiting, position ${frame.position}`);
      break;
    case "delta":
      answer = answer || line("answer", "");
      answer.textContent += frame.text;
      break;
    case "approval_required":
      line("note", `waits for approval ${frame.id}: ${frame.summary} (homing approvals show ${frame.id})`);
      break;
    case "approval_resolved":
      line("note", `approval ${frame.id}: ${frame.decision}${frame.by ? " by " + frame.by.user : ""}`);
      break;
    case "response":
      (answer || line("answer", "")).textContent = frame.text;
      for (const file of frame.attachments || []) download(file);
      break;
    case "turn_complete":
      if (frame.reason !== "done") line("note", frame.reason);
      answer = null;
      running(false);
      break;
    case "error":
    case "command_result":
      line("note", frame.text);
      break;
    case "cleared":
      log.replaceChildren();
      answer = null;
      break;
  }
}

function connect() {
  const scheme = location.protocol === "https:" ? "wss:" : "ws:";
  socket = new WebSocket(`${scheme}//${location.host}/ws`);
  socket.onopen = () => {
    retry = FIRST_RETRY_MS;
    state("connected", true);
    socket.send(JSON.stringify({ type: "session_open", session_id: SESSION, from_seq: seen + 1 }));
  };
  socket.onmessage = (event) => show(JSON.parse(event.data));
  socket.onclose = (event) => {
    if (event.code === 4003) {
      state("this device was revoked", false);
      return;
    }
    state("disconnected, trying again", false);
    setTimeout(connect, retry);
    retry = Math.min(retry * 2, LAST_RETRY_MS);
  };
}

function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(12));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

byId("say").addEventListener("submit", (event) => {
  event.preventDefault();
  const input = byId("text");
  const text = input.value.trim();
  if (!text || !socket || socket.readyState !== WebSocket.OPEN) return;
  socket.send(JSON.stringify({ type: "text_final", session_id: SESSION, text, client_msg_id: newId() }));
  input.value = "";
});

byId("stop").addEventListener("click", () => {
  if (!socket || socket.readyState !== WebSocket.OPEN) return;
  socket.send(JSON.stringify({ type: "interrupt", session_id: SESSION }));
});

async function read(path) {
  const response = await fetch(path);
  const body = await response.json();
  if (!response.ok) throw new Error(body.error.message);
  return body;
}

async function load() {
  const [info, who] = await Promise.all([read("/api/agent-info"), read("/api/whoami")]);
  document.title = byId("agent").textContent = info.name;
  byId("who").textContent = `${who.user}, ${who.role}, ${who.path}, device ${who.node_id.slice(0, 10)}`;
}

load().catch((error) => {
  byId("who").textContent = error.message;
});
connect();
