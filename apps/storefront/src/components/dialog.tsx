import { useRef, useState, type ReactElement, type ReactNode } from 'react';
import { Dialog as AriaDialog, Heading, Modal, ModalOverlay } from 'react-aria-components';
import { Button } from './button';
import { useFocusHeir } from './focus';
import { ErrorNote } from './states';

interface Props {
  title: string;
  open: boolean;
  onClose: () => void;
  children: ReactNode;
  role?: 'dialog' | 'alertdialog';
}

/** A window over the page: focus stays within, Escape closes, focus returns. */
export function Dialog({ title, open, onClose, children, role = 'dialog' }: Props): ReactElement {
  return (
    <ModalOverlay
      className="overlay"
      isOpen={open}
      isDismissable={role === 'dialog'}
      onOpenChange={(next) => {
        if (!next) onClose();
      }}
    >
      <Modal className="modal">
        <AriaDialog className="dialog" role={role}>
          <Heading slot="title" level={2}>
            <bdi>{title}</bdi>
          </Heading>
          {children}
        </AriaDialog>
      </Modal>
    </ModalOverlay>
  );
}

interface ConfirmProps {
  title: string;
  /** Of the button that opens it and the one that does it. */
  action: string;
  children: ReactNode;
  onConfirm: () => Promise<unknown>;
  className?: string;
  label?: string;
}

/** A button whose deed is asked for once more. An error is shown in the window, which stays open. */
export function Confirm({
  title,
  action,
  children,
  onConfirm,
  className = 'button button-quiet',
  label,
}: ConfirmProps): ReactElement {
  const [open, setOpen] = useState(false);
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>(null);
  const trigger = useRef<HTMLButtonElement>(null);
  // The deed may take the button away, to which the window would give the focus back.
  useFocusHeir(trigger, open);
  const run = async () => {
    setBusy(true);
    setError(null);
    try {
      await onConfirm();
      setOpen(false);
    } catch (caught) {
      setError(caught);
    } finally {
      setBusy(false);
    }
  };
  return (
    <>
      <button
        type="button"
        ref={trigger}
        className={className}
        aria-label={label}
        onClick={() => {
          setError(null);
          setOpen(true);
        }}
      >
        {action}
      </button>
      <Dialog
        title={title}
        role="alertdialog"
        open={open}
        onClose={() => {
          setOpen(false);
        }}
      >
        <div className="prose">{children}</div>
        <ErrorNote error={error} />
        <div className="row row-end">
          <button
            type="button"
            className="button button-quiet"
            onClick={() => {
              setOpen(false);
            }}
          >
            Keep as it is
          </button>
          <Button className="button button-danger" off={busy} onClick={() => void run()}>
            {action}
          </Button>
        </div>
      </Dialog>
    </>
  );
}
