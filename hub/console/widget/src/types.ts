// The words of the chat protocol (docs/chat-protocol.md) as far as the client reads them.

export interface Field {
  name: string;
  label: string;
  kind: "text" | "email" | "tel" | "long" | "choice";
  required: boolean;
  options: string[];
}

export interface Uploading {
  max_bytes: number;
  max_files: number;
  types: string[];
}

export interface Settings {
  title: string;
  agent: string;
  greeting: string;
  suggestions: string[];
  language: string;
  colour: string;
  theme: "auto" | "light" | "dark";
  logo: string;
  position: "left" | "right";
  form: Field[];
  remote_images: boolean;
  identity: boolean;
  uploads: Uploading | null;
}

export const PLAIN: Settings = {
  title: "",
  agent: "",
  greeting: "",
  suggestions: [],
  language: "",
  colour: "",
  theme: "auto",
  logo: "",
  position: "right",
  form: [],
  remote_images: false,
  identity: false,
  uploads: null,
};

export interface Attachment {
  kind: string;
  name: string;
  media_type?: string;
  size?: number;
  upload?: string;
  url?: string;
}

export interface Citation {
  kind?: string;
  title?: string;
  text?: string;
  url?: string;
}

export interface Message {
  id: string;
  seq: number;
  role: string;
  text: string;
  status?: string;
  created: string;
  turn_id?: string;
  client_id?: string;
  edits?: string;
  superseded?: boolean;
  attachments?: Attachment[];
  quick_replies?: string[];
  citations?: Citation[];
  tool_calls?: { name?: string }[];
  finish?: string;
  reason?: string;
  sender_name?: string;
}

// A message of the visitor on its way: kept until the hub has acknowledged it.
export interface Outgoing {
  id: string;
  text: string;
  at: number;
  attachments?: Attachment[];
  edits?: string;
  again?: boolean; // the earlier message's own words once more: `text` is only shown
  form?: Record<string, string>;
}

// Frames are told apart by their type; what a type does not have is undefined.
export interface Frame {
  type: string;
  cursor?: string;
  token?: string;
  session?: string | null;
  changed?: boolean;
  settings?: Partial<Settings>;
  identified?: boolean;
  read?: number;
  now?: string;
  client_id?: string;
  seq?: number;
  id?: string;
  status?: string;
  reason?: string;
  duplicate?: boolean;
  message?: Message | string;
  code?: string;
  retry_after?: number;
  turn_id?: string;
  text?: string;
  whole?: boolean;
  state?: string;
  detail?: string;
  label?: string;
  phase?: string;
  call?: string;
  messages?: Message[];
  before?: number;
  after?: number;
  more?: boolean;
  running?: boolean;
}

export type LineState = "connecting" | "online" | "offline" | "closed" | "resting";
