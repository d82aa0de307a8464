// Files on their way to the hub. Requests of the old kind: fetch cannot tell how much it has sent.

import type { Store } from "./store.js";
import type { Attachment, Uploading } from "./types.js";

export interface Upload {
  done: Promise<Attachment>;
  cancel(): void;
}

export class UploadError extends Error {
  constructor(
    readonly code: string,
    message: string,
  ) {
    super(message);
  }
}

export function upload(address: string, store: Store, file: File, progress: (share: number) => void): Upload {
  const request = new XMLHttpRequest();
  const done = new Promise<Attachment>((resolve, reject) => {
    request.open("POST", `${address}?name=${encodeURIComponent(file.name)}`);
    request.responseType = "json";
    request.setRequestHeader("Authorization", `Bearer ${store.kept.token}`);
    request.setRequestHeader("Content-Type", file.type || "application/octet-stream");
    request.upload.onprogress = (event) => progress(event.lengthComputable ? event.loaded / event.total : 0);
    request.onload = () => {
      const answer = (request.response ?? {}) as Attachment & { code?: string; message?: string };
      if (request.status < 300 && answer.upload) resolve(answer);
      else reject(new UploadError(answer.code ?? String(request.status), answer.message ?? ""));
    };
    request.onerror = () => reject(new UploadError("network", ""));
    request.onabort = () => reject(new UploadError("cancelled", ""));
    request.send(file);
  });
  return { done, cancel: () => request.abort() };
}

// Whether a file's type is among the accepted ones (`image/png`, also `image/*`); unknown types are left to the hub.
export function accepts(rules: Uploading, file: File): boolean {
  if (!file.type || rules.types.length === 0) return true;
  return rules.types.some(
    (type) => type === file.type || (type.endsWith("/*") && file.type.startsWith(type.slice(0, -1))),
  );
}
